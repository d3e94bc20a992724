//go:build tools

// Package tools pins the KServe controller that the local stack runs.
package tools

import _ "github.com/kserve/kserve/cmd/manager"
