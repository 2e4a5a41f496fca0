// Serves the external metrics API from a Prometheus by the rules of a prometheus-adapter configuration.
//
// The configuration's parser, the queries and the metrics provider are prometheus-adapter's own packages; only its
// program is not used: its last release was written against a Kubernetes of 2024, whose libraries would be compiled
// for it alone. For tests: it trusts the Prometheus that it is given and has no custom nor resource metrics.
package main

import (
	"context"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/common/model"
	"k8s.io/klog/v2"
	basecmd "sigs.k8s.io/custom-metrics-apiserver/pkg/cmd"
	"sigs.k8s.io/prometheus-adapter/pkg/client"
	"sigs.k8s.io/prometheus-adapter/pkg/config"
	provider "sigs.k8s.io/prometheus-adapter/pkg/external-provider"
	"sigs.k8s.io/prometheus-adapter/pkg/naming"
)

// answerLimit is how long Prometheus may take for one answer.
const answerLimit = 10 * time.Second

// patient asks without the deadline of the request that it serves. prometheus-adapter sends what is left until a
// deadline as a query's timeout, but counts it from the wrong end, and Prometheus refuses a negative one.
type patient struct{ client.Client }

func (p patient) Query(ctx context.Context, at model.Time, query client.Selector) (client.QueryResult, error) {
	return p.Client.Query(context.WithoutCancel(ctx), at, query)
}

type adapter struct {
	basecmd.AdapterBase
	prometheusURL  string
	rules          string
	relistInterval time.Duration
	maxAge         time.Duration
}

func (a *adapter) addFlags() {
	// The names are those of prometheus-adapter's own program.
	a.Flags().StringVar(&a.prometheusURL, "prometheus-url", "", "address of the Prometheus to ask")
	a.Flags().StringVar(&a.rules, "config", "", "file with prometheus-adapter's rules; externalRules count")
	a.Flags().DurationVar(&a.relistInterval, "metrics-relist-interval", 10*time.Minute, "how often series are listed")
	a.Flags().DurationVar(&a.maxAge, "metrics-max-age", 10*time.Minute, "how far back a series may lie to be listed")
}

func (a *adapter) serve(ctx context.Context) error {
	rules, err := config.FromFile(a.rules)
	if err != nil {
		return err
	}
	address, err := url.Parse(a.prometheusURL)
	if err != nil {
		return err
	}
	mapper, err := a.RESTMapper()
	if err != nil {
		return err
	}
	namers, err := naming.NamersFromConfig(rules.ExternalRules, mapper)
	if err != nil {
		return err
	}
	prometheus := patient{client.NewClient(&http.Client{Timeout: answerLimit}, address, http.Header{}, http.MethodGet)}
	metrics, lister := provider.NewExternalPrometheusProvider(prometheus, namers, a.relistInterval, a.maxAge)
	lister.RunUntil(ctx.Done())
	a.WithExternalMetrics(metrics)
	return a.Run(ctx)
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	a := &adapter{}
	a.Name = "watchbill-metrics-adapter"
	a.addFlags()
	if err := a.Flags().Parse(os.Args); err != nil {
		klog.Fatalf("flags: %v", err)
	}
	if err := a.serve(ctx); err != nil {
		klog.Fatalf("the metrics API ended: %v", err)
	}
}
