//go:build tools

// Package tools pins KEDA's API types, and the program that makes a CRD of them.
package tools

import (
	_ "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	_ "sigs.k8s.io/controller-tools/cmd/controller-gen"
)
