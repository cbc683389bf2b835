"""Messages between the published scheduler and its executors. Cloudburst sends none of them; programs import them."""

from typing import TYPE_CHECKING, Any

from cloudburst.shared.proto._messages import declare

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...


_declared = declare(
    "cloudburst.shared.proto.internal_pb2",
    enums={"ExecutorType": "CPU GPU"},
    messages={
        "ThreadStatus": "ip:string tid:uint32 functions:string* utilization:double running:bool type:ExecutorType",
        "ExecutorStatistics": "functions:ExecutorStatistics.FunctionStatistics* dags:ExecutorStatistics.DagStatistics*",
        "ExecutorStatistics.FunctionStatistics": "name:string call_count:uint32 runtime:double*",
        "ExecutorStatistics.DagStatistics": "name:string runtimes:double* interarrival:double* call_count:uint32",
        "SchedulerStatus": "dags:string* function_locations:SchedulerStatus.FunctionLocation*",
        "SchedulerStatus.FunctionLocation": "name:string ip:string tid:uint32",
        "PinFunction": "name:string response_address:string batching:bool",
    },
)
globals().update(_declared)
__all__ = list(_declared)
