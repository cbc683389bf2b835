"""Compositions of functions, written with ``>>``."""

from __future__ import annotations

import hashlib
import inspect
import uuid
from typing import Any, AsyncIterator, Dict, List, NamedTuple, Optional, Sequence, Tuple, TypeVar, Union

from cloudburst.argument import encode_argument
from cloudburst.call import CallHead, Shape
from cloudburst.codec import Encoded, sent_as
from cloudburst.connection import RUN_SECONDS, Connection, address_of, connection_of
from cloudburst.errors import InvalidArgumentError
from cloudburst.flow import patience_of
from cloudburst.function import Function, Options, call_head, checked_options
from cloudburst.future import Future
from cloudburst.items import AHEAD, Items
from cloudburst.stage import P, R, Stage
from cloudburst.v1 import frame_pb2, function_pb2

__all__ = ["Pipeline", "composed"]

_HEADS_MAX = 64
_READABLE_CHARACTERS_MAX = 60
_DIGEST_CHARACTERS = 12

Fn = Function[Any, Any]
T = TypeVar("T")


class Graph(NamedTuple):
    """Functions and what feeds what. The ends are those whose results nothing takes yet, in their order."""

    functions: Tuple[Fn, ...]
    links: Tuple[Tuple[Fn, Fn], ...]
    ends: Tuple[Fn, ...]

    def sources(self) -> List[Fn]:
        fed = {id(sink) for _, sink in self.links}
        return [function for function in self.functions if id(function) not in fed]

    def upstream(self, function: Fn) -> List[Fn]:
        return [source for source, sink in self.links if sink is function]

    def ordered(self) -> List[Fn]:
        """The functions, each after all that feed it."""
        done: List[Fn] = []
        left = list(self.functions)
        while left:
            ready = [f for f in left if all(any(u is d for d in done) for u in self.upstream(f))]
            done += ready
            left = [f for f in left if not any(f is r for r in ready)]
        return done


class _Given(NamedTuple):
    """A function of a pipeline that gets arguments besides what feeds it."""

    ref: str
    bound: Tuple[Any, ...]
    bound_keywords: Dict[str, Any]
    source: bool


class Pipeline(Stage[P, R]):
    """Functions composed with ``>>``, run on the node as one: ``(incr >> sq).remote(3).get()``.

    The arguments of a call go to every function that nothing feeds, after those that it has been bound; a function in the
    middle gets what it has been bound, and then the results of those that feed it. Called as it is, it runs here.

    It is registered, with its functions, when it is first called on the node. Safe for concurrent use.
    """

    def __init__(self, connection: Optional[Connection], graph: Optional[Graph], name: str = "") -> None:
        self._connection = connection
        self._graph = graph  # None when only the node knows it
        self._name = name  # "" = made from the functions
        self._options = Options()
        self._registered = ""  # name under which the node has it
        self._dag = b""  # what has been registered, if it has no name: the node may drop it
        self._given: List[_Given] = []
        self._seconds = RUN_SECONDS
        self._heads: Dict[Tuple[Shape, ...], CallHead] = {}

    @property
    def name(self) -> str:
        """Its name. One that :meth:`named` has not given is made of the functions' versions, so it is registered first."""
        return self._registered or self._name or self.register()

    def named(self, name: str) -> Pipeline[P, R]:
        """Return the pipeline under a name by which it can be called from elsewhere, as a DAG.

        It calls the latest versions of its functions, where one without a name calls those that this program has registered.
        """
        if not isinstance(name, str) or not name:
            raise InvalidArgumentError(f"the name of a pipeline is a string, got {name!r:.100}")
        other: Pipeline[P, R] = Pipeline(self._connection, self._needed_graph(), name)
        other._options = self._options
        return other

    def options(
        self,
        *,
        timeout: Optional[float] = None,
        key: Optional[str] = None,
        store: Optional[bool] = None,
        consistency: Optional[str] = None,
        retries: Optional[int] = None,
        priority: Optional[int] = None,
        queue_timeout: Optional[float] = None,
        label: Optional[str] = None,
        run_id: Union[None, str, bytes, uuid.UUID] = None,
        detached: Optional[bool] = None,
        cancel_on_disconnect: Optional[bool] = None,
    ) -> Pipeline[P, R]:
        """Return the pipeline, to be called in another way; see :meth:`cloudburst.Function.options`."""
        other: Pipeline[P, R] = Pipeline(self._connection, self._graph, self._name)
        other._options = checked_options(
            self._options,
            timeout,
            key,
            store,
            consistency,
            retries,
            priority,
            queue_timeout,
            label,
            run_id,
            detached,
            cancel_on_disconnect,
        )
        other._registered, other._dag, other._given = self._registered, self._dag, self._given
        if self._graph is not None:
            other._seconds = patience_of(_descriptions(self._graph), other._options.retries, RUN_SECONDS)
        return other

    def register(self) -> str:
        """Register the pipeline, and its functions where that has not been done, and return its name.

        A pipeline that has the name already is replaced; its runs finish as they began. One without a name goes with any of
        its functions, or when 256 others have been registered since; a call that does not find it registers it again.

        Raises InvalidArgumentError when it ends in several functions or is not a DAG, and UnpicklableError when a function
        refers to something that cannot travel.
        """
        graph = self._needed_graph()
        if len(graph.ends) > 1:
            names = ", ".join(f.name for f in graph.ends)
            raise InvalidArgumentError(f"{self!r} ends in {names}; add one that takes their results: (…) >> combine")
        refs = {id(f): f.ref for f in graph.functions}
        if self._name:
            # Others will call it, and so may the next run of this program: functions by their names, not by versions.
            refs = {id(f): f.name if f.is_local else f.ref for f in graph.functions}
        dag = function_pb2.Dag(functions=refs.values())
        for source, sink in graph.links:
            dag.links.add(source=refs[id(source)], sink=refs[id(sink)])
        dag.name = self._name or _made_name(graph, dag)
        dag.anonymous = not self._name
        self._owner().register_dag(dag, replace=True)
        sources = {id(f) for f in graph.sources()}
        self._given = [
            _Given(refs[id(f)], f._bound, f._bound_keywords, id(f) in sources)
            for f in graph.functions
            if id(f) in sources or f._bound or f._bound_keywords
        ]
        self._seconds = patience_of(_descriptions(graph), self._options.retries, RUN_SECONDS)
        self._heads = {}
        self._registered, self._dag = dag.name, dag.SerializeToString() if dag.anonymous else b""
        return dag.name

    def _there(self, args: Tuple[Any, ...], kwargs: Dict[str, Any]) -> Future[R]:
        shape, encoded = self._encoded(args, kwargs)
        head = self._heads.get(shape)
        if head is None:
            if len(self._heads) >= _HEADS_MAX:
                self._heads = {}
            call = frame_pb2.Call(dag=self._registered)
            head = self._heads[shape] = call_head(
                call, shape, self._options, f"call dag {self._registered}", _descriptions(self._graph)
            )
        options = self._options
        connection = self._owner()
        seconds = self._seconds if options.timeout is None else options.timeout
        run_id, request = connection.call(head, encoded, seconds, options.run_id)
        future: Future[R] = Future.of_run(connection, run_id, request, options.key, options.store)
        return future.of_dag(self._dag) if self._dag else future

    def _streamed(self, args: Tuple[Any, ...], kwargs: Dict[str, Any]) -> Items[Any]:
        shape, encoded = self._encoded(args, kwargs)
        call = frame_pb2.Call(dag=self._registered, stream_credit=AHEAD)
        head = call_head(call, shape, self._options._replace(store=False), f"stream dag {self._registered}")
        timeout = self._options.timeout
        items = self._owner().stream(head, encoded, self._seconds if timeout is None else timeout)
        return items.of_dag(self._dag) if self._dag else items

    def _encoded(self, args: Tuple[Any, ...], kwargs: Dict[str, Any]) -> Tuple[Tuple[Shape, ...], List[Encoded]]:
        """Return the shape of a call and its arguments. Registers the pipeline if it has not been yet."""
        if not self._registered:
            self.register()
        shapes: List[Shape] = []
        values: List[Any] = []
        for given in self._given:
            positional, named = given.bound, given.bound_keywords
            if given.source:
                positional, named = positional + args, {**named, **kwargs}
            shapes.append((given.ref, len(positional), tuple(named)))
            values += positional
            values += named.values()
        return tuple(shapes), [encode_argument(value) for value in values]

    def _here(self, args: Tuple[Any, ...], kwargs: Dict[str, Any]) -> Any:
        graph = self._needed_graph()
        sources = {id(f) for f in graph.sources()}
        results: Dict[int, Any] = {}
        for function in graph.ordered():
            arguments: List[Any] = list(args) if id(function) in sources else []
            for upstream in graph.upstream(function):
                result = results[id(upstream)]
                arguments += result if type(result) is tuple else (result,)
            result = function._here(tuple(arguments), kwargs if id(function) in sources else {})
            last = any(function is end for end in graph.ends)
            results[id(function)] = run_to_end(result) if function.yields_or_awaits and not last else result
        ended = [results[id(f)] for f in graph.ends]
        return ended[0] if len(ended) == 1 else tuple(ended)

    def _needed_graph(self) -> Graph:
        if self._graph is None:
            raise TypeError(f"the functions of pipeline {self._name!r} are not here; call it with .remote(...)")
        return self._graph

    def __repr__(self) -> str:
        name = self._registered or self._name
        return f"<Pipeline {name + ': ' if name else ''}{_shown(self._graph)}>"

    def __reduce__(self) -> Any:
        return _unpickled, (*self._pickled(), address_of(self._connection))

    def _pickled(self) -> Tuple[Any, ...]:
        return self._graph, self._name, self._options, self._registered, self._dag, self._given, self._seconds


def run_to_end(result: Any) -> Any:
    """Return what a generator yields as a list, and what a coroutine returns, as a node does between functions."""
    import asyncio

    if inspect.isasyncgen(result):
        return asyncio.run(collected(result))
    return asyncio.run(result) if inspect.iscoroutine(result) else list(result)


async def collected(items: AsyncIterator[T]) -> List[T]:
    return [item async for item in items]


def composed(before: Any, after: Any) -> Pipeline[Any, Any]:
    """Return the pipeline in which the ends of one stage, or of several, feed the sources of another, or of several."""
    first, second = _graph_of(before), _graph_of(after)
    sources = second.sources()
    for source in sources:
        if any(source is f for f in first.functions):
            raise InvalidArgumentError(
                f"function {source.name!r} would feed itself; a function stands in a pipeline once. To call it again, make "
                "another of it under another name: app.function(..., name=...)"
            )
    links = [*first.links, *((end, source) for source in sources for end in first.ends)]
    known = {(id(source), id(sink)) for source, sink in links}
    links += [link for link in second.links if (id(link[0]), id(link[1])) not in known]
    graph = Graph(_unique((*first.functions, *second.functions)), tuple(links), second.ends)
    names: Dict[str, Fn] = {}
    for function in graph.functions:
        if names.setdefault(function.name, function) is not function:
            raise InvalidArgumentError(
                f"two functions in a pipeline have the name {function.name!r}; make one of them under another name: "
                "app.function(..., name=...)"
            )
    connections = [f._connection for f in graph.functions if f._connection is not None]
    if any(connection is not connections[0] for connection in connections):
        raise InvalidArgumentError("the functions of a pipeline belong to one connection, and these to several")
    return Pipeline(connections[0] if connections else None, graph)


def described(connection: Connection, dag: function_pb2.Dag) -> Pipeline[Any, Any]:
    """Return the pipeline that a node has under a name."""
    pipeline: Pipeline[Any, Any] = Pipeline(connection, None, dag.name)
    fed = {link.sink for link in dag.links}
    pipeline._given = [_Given(ref, (), {}, True) for ref in dag.functions if ref not in fed]
    pipeline._registered = dag.name
    return pipeline


def _graph_of(stage: Union[Stage[Any, Any], Sequence[Stage[Any, Any]]]) -> Graph:
    if isinstance(stage, Function):
        return Graph((stage,), (), (stage,))
    if isinstance(stage, Pipeline):
        return stage._needed_graph()
    if isinstance(stage, tuple) and stage:
        graphs = [_graph_of(each) for each in stage]
        links: Dict[Tuple[int, int], Tuple[Fn, Fn]] = {}
        for graph in graphs:
            links.update({(id(source), id(sink)): (source, sink) for source, sink in graph.links})
        return Graph(
            _unique(f for graph in graphs for f in graph.functions),
            tuple(links.values()),
            _unique(f for graph in graphs for f in graph.ends),
        )
    raise InvalidArgumentError(f"a pipeline is made of functions of the app, and tuples of them; got {stage!r:.100}")


def _descriptions(graph: Optional[Graph]) -> List[function_pb2.Function]:
    """What is known of the functions of a pipeline."""
    return [] if graph is None else [f._description for f in graph.functions]


def _unique(functions: Any) -> Tuple[Fn, ...]:
    return tuple({id(f): f for f in functions}.values())


def _made_name(graph: Graph, dag: function_pb2.Dag) -> str:
    """A name that says what it is, and that only an equal pipeline has."""
    content = repr((list(dag.functions), [(link.source, link.sink) for link in dag.links]))
    readable = ">".join(f.name for f in graph.ordered())
    if len(readable) > _READABLE_CHARACTERS_MAX:
        readable = graph.ends[0].name[:_READABLE_CHARACTERS_MAX]
    return f"{readable}:{hashlib.sha256(content.encode()).hexdigest()[:_DIGEST_CHARACTERS]}"


def _shown(graph: Optional[Graph]) -> str:
    if graph is None:
        return "known to the node"
    feeding, fed = {id(source) for source, _ in graph.links}, {id(sink) for _, sink in graph.links}
    if len(feeding) == len(fed) == len(graph.links) == len(graph.functions) - 1:  # a chain
        return " >> ".join(f.name for f in graph.ordered())
    return ", ".join(f"{source.name} >> {sink.name}" for source, sink in graph.links)


def _unpickled(
    graph: Optional[Graph],
    name: str,
    options: Options,
    registered: str,
    dag: bytes,
    given: List[_Given],
    seconds: float,
    address: Optional[str] = None,
) -> Pipeline[Any, Any]:
    pipeline: Pipeline[Any, Any] = Pipeline(connection_of(address), graph, name)
    pipeline._options, pipeline._registered, pipeline._dag = options, registered, dag
    pipeline._given, pipeline._seconds = given, seconds
    return pipeline


sent_as(Pipeline, lambda pipeline: (_unpickled, pipeline._pickled()))
