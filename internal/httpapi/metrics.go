package httpapi

import (
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// levelQuiet is for what is too frequent to log by default.
const levelQuiet = slog.LevelDebug

// metrics are the API's own, by call.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	bytesIn  *prometheus.CounterVec
	bytesOut *prometheus.CounterVec
	show     http.Handler
}

func newMetrics(reg *prometheus.Registry, transfers, followers func() float64) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "raid_http_requests_total",
			Help: "Requests answered, by call and status; status \"aborted\" is a connection broken off after its header.",
		}, []string{"call", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "raid_http_request_seconds",
			Help:    "From a request's header to the end of its answer.",
			Buckets: []float64{.001, .004, .016, .064, .25, 1, 4, 16, 64},
		}, []string{"call"}),
		bytesIn: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "raid_http_received_bytes_total", Help: "Bytes of request bodies, by call.",
		}, []string{"call"}),
		bytesOut: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "raid_http_sent_bytes_total", Help: "Bytes of answers' bodies, by call.",
		}, []string{"call"}),
		show: promhttp.HandlerFor(reg, promhttp.HandlerOpts{
			ErrorHandling:      promhttp.ContinueOnError,
			DisableCompression: true, // a gzip writer is 800 KiB, which a Pi has better uses for
		}),
	}
	inFlight := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "raid_http_transfers_in_flight", Help: "Uploads and downloads under way; max_requests bounds them.",
	}, transfers)
	following := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "raid_http_event_followers", Help: "Clients that follow the events.",
	}, followers)
	reg.MustRegister(m.requests, m.seconds, m.bytesIn, m.bytesOut, inFlight, following)
	return m
}

// meter is one call's share of the metrics, looked up once.
type meter struct {
	statuses *prometheus.CounterVec
	ok       prometheus.Counter
	seconds  prometheus.Observer
	in, out  prometheus.Counter
}

func (m *metrics) meter(call string) *meter {
	v := m.requests.MustCurryWith(prometheus.Labels{"call": call})
	return &meter{
		statuses: v,
		ok:       v.WithLabelValues("200"),
		seconds:  m.seconds.WithLabelValues(call),
		in:       m.bytesIn.WithLabelValues(call),
		out:      m.bytesOut.WithLabelValues(call),
	}
}

func (m *meter) count(status int, aborted bool, took time.Duration, sent int64) {
	switch {
	case aborted:
		m.statuses.WithLabelValues("aborted").Inc()
	case status == http.StatusOK:
		m.ok.Inc()
	default:
		m.statuses.WithLabelValues(strconv.Itoa(status)).Inc()
	}
	m.seconds.Observe(took.Seconds())
	m.out.Add(float64(sent))
}

func (m *meter) received(n int64) { m.in.Add(float64(n)) }

func (a *API) showMetrics(x *exchange) error {
	a.metrics.show.ServeHTTP(x, x.Request)
	return nil
}
