//go:build tools

// Package tools pins the Prometheus server that the local stack runs.
package tools

import _ "github.com/prometheus/prometheus/cmd/prometheus"
