package gateway

import (
	"reflect"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"cloudburst/names"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

const namespace = "cloudburst"

// kind is what a request asks for.
type kind uint8

const (
	kindNone kind = iota // no request
	kindUnknown
	kindCall
	kindGet
	kindPut
	kindDelete
	kindListKeys
	kindRegisterFunction
	kindRegisterDAG
	kindDeleteFunction
	kindDeleteDAG
	kindListFunctions
	kindListDAGs
	kindGetStatus
	kindWatch
	kindUnwatch
	kindGetAnnaStatus
	kindGetLogs
	kindCancelRun
	kindListRuns
	kindGetRun
	kinds
)

var kindNames = [kinds]string{
	"none", "unknown", "call", "get", "put", "delete", "list_keys", "register_function", "register_dag",
	"delete_function", "delete_dag", "list_functions", "list_dags", "get_status", "watch", "unwatch",
	"get_anna_status", "get_logs", "cancel_run", "list_runs", "get_run",
}

func (k kind) String() string { return kindNames[k] }

// kindOf returns what a header asks for: kindNone when no client sends such a thing, kindUnknown when this version does not
// know it.
func kindOf(h *pb.Header) kind {
	switch h.GetBody().(type) {
	case nil:
		return kindUnknown
	case *pb.Header_Call:
		return kindCall
	case *pb.Header_Get:
		return kindGet
	case *pb.Header_Put:
		return kindPut
	case *pb.Header_Delete:
		return kindDelete
	case *pb.Header_ListKeys:
		return kindListKeys
	case *pb.Header_RegisterFunction:
		return kindRegisterFunction
	case *pb.Header_RegisterDag:
		return kindRegisterDAG
	case *pb.Header_DeleteFunction:
		return kindDeleteFunction
	case *pb.Header_DeleteDag:
		return kindDeleteDAG
	case *pb.Header_ListFunctions:
		return kindListFunctions
	case *pb.Header_ListDags:
		return kindListDAGs
	case *pb.Header_GetStatus:
		return kindGetStatus
	case *pb.Header_Watch:
		return kindWatch
	case *pb.Header_Unwatch:
		return kindUnwatch
	case *pb.Header_GetAnnaStatus:
		return kindGetAnnaStatus
	case *pb.Header_GetLogs:
		return kindGetLogs
	case *pb.Header_CancelRun:
		return kindCancelRun
	case *pb.Header_ListRuns:
		return kindListRuns
	case *pb.Header_GetRun:
		return kindGetRun
	default:
		return kindNone
	}
}

// codesMax bounds the codes that are counted one by one; 0 is success.
const codesMax = 32

// metrics counts what the gateway does, and is the one exporter of everything that the node counts.
type metrics struct {
	gateway  *Gateway
	registry *prometheus.Registry

	connectionsRefused atomic.Uint64
	unauthenticated    atomic.Uint64
	malformed          atomic.Uint64
	requests           [kinds][codesMax]atomic.Uint64
	latency            [kinds]prometheus.Observer
}

var (
	connectionsDesc = prometheus.NewDesc("cloudburst_gateway_connections", "Connections that are open.", nil, nil)
	outstandingDesc = prometheus.NewDesc("cloudburst_gateway_requests_outstanding", "Requests that wait for their answer.", nil, nil)
	refusedDesc     = prometheus.NewDesc("cloudburst_gateway_connections_refused_total", "Connections that were refused because there were too many.", nil, nil)
	deniedDesc      = prometheus.NewDesc("cloudburst_gateway_unauthenticated_total", "Connections that were refused because their token was missing or wrong.", nil, nil)
	malformedDesc   = prometheus.NewDesc("cloudburst_gateway_malformed_total", "Connections that were closed because the client broke the protocol.", nil, nil)
	requestsDesc    = prometheus.NewDesc("cloudburst_gateway_requests_total", "Requests that were answered, by type and code.", []string{"type", "code"}, nil)
)

func newMetrics(g *Gateway) *metrics {
	m := &metrics{gateway: g, registry: prometheus.NewRegistry()}
	latency := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: namespace, Subsystem: "gateway", Name: "request_seconds", Help: "Time from a request to its answer.",
		Buckets: prometheus.ExponentialBuckets(16e-6, 2, 24), // 16 µs to 134 s
	}, []string{"type"})
	for k := kindUnknown; k < kinds; k++ {
		m.latency[k] = latency.WithLabelValues(k.String())
	}
	m.registry.MustRegister(m, latency, &partsCollector{parts: g.backend.Stats}, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// answered counts a request.
func (m *metrics) answered(k kind, code pb.Code, took time.Duration) {
	if code < 0 || code >= codesMax {
		code = pb.Code_CODE_INTERNAL
	}
	m.requests[k][code].Add(1)
	m.latency[k].Observe(took.Seconds())
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{connectionsDesc, outstandingDesc, refusedDesc, deniedDesc, malformedDesc, requestsDesc} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v int64) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v))
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge(connectionsDesc, m.gateway.connections.Load())
	gauge(outstandingDesc, m.gateway.outstanding.Load())
	counter(refusedDesc, m.connectionsRefused.Load())
	counter(deniedDesc, m.unauthenticated.Load())
	counter(malformedDesc, m.malformed.Load())
	for k := kindUnknown; k < kinds; k++ {
		for code := range pb.Code(codesMax) {
			if n := m.requests[k][code].Load(); n > 0 {
				counter(requestsDesc, n, k.String(), wire.CodeName(code))
			}
		}
	}
}

// partsCollector turns the Stats structs of the node's parts into metrics. An unsigned field is a counter, any other number a
// gauge, a Duration a gauge in seconds; a field tagged `metric:"gauge"` or `metric:"counter"` is that. What has Buckets is a
// histogram. A slice of structs with a label, such as `label:"stream"`, is a set of metrics for each of them, told apart by the
// value of its first field, which is a string. Its metrics are not known before they are collected.
type partsCollector struct {
	parts map[string]func() any
}

// histogram is a Stats field that counts durations.
type histogram interface {
	Buckets() (cumulative map[float64]uint64, count uint64, sum float64)
}

// Describe implements prometheus.Collector.
func (c *partsCollector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *partsCollector) Collect(out chan<- prometheus.Metric) {
	for part, read := range c.parts {
		stats := reflect.Indirect(reflect.ValueOf(read()))
		if stats.Kind() == reflect.Struct {
			walk(out, namespace+"_"+part, stats, nil)
		}
	}
}

func walk(out chan<- prometheus.Metric, prefix string, stats reflect.Value, labels prometheus.Labels) {
	for field, value := range stats.Fields() {
		if !field.IsExported() {
			continue
		}
		if label := field.Tag.Get("label"); label != "" {
			for i := range value.Len() {
				element := value.Index(i)
				walk(out, prefix+"_"+names.Snake(field.Name), element, prometheus.Labels{label: element.Field(0).String()})
			}
			continue
		}
		name := prefix + "_" + names.Snake(field.Name)
		text := help[strings.TrimPrefix(name, namespace+"_")]
		if h, ok := reflect.TypeAssert[histogram](value); ok {
			cumulative, count, sum := h.Buckets()
			out <- prometheus.MustNewConstHistogram(prometheus.NewDesc(name+"_seconds", text, nil, labels), count, sum, cumulative)
			continue
		}
		kind, number := prometheus.GaugeValue, 0.0
		switch {
		case value.Type() == reflect.TypeFor[time.Duration]():
			name, number = name+"_seconds", time.Duration(value.Int()).Seconds()
		case value.CanInt():
			number = float64(value.Int())
		case value.CanUint():
			kind, number = prometheus.CounterValue, float64(value.Uint())
		case value.CanFloat():
			number = value.Float()
		case field.Anonymous && value.Kind() == reflect.Struct:
			walk(out, prefix, value, labels)
			continue
		case value.Kind() == reflect.Struct:
			walk(out, name, value, labels)
			continue
		default:
			continue
		}
		switch field.Tag.Get("metric") {
		case "gauge":
			kind = prometheus.GaugeValue
		case "counter":
			kind = prometheus.CounterValue
		}
		if base, ok := strings.CutSuffix(name, "_milliseconds"); ok {
			name, number = base+"_seconds", number/1000
		}
		if kind == prometheus.CounterValue {
			name += "_total"
		}
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, text, nil, labels), kind, number)
	}
}
