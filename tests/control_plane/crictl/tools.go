//go:build tools

// Package tools names the programs that scripts/go-programs.sh builds of this module.
package tools

import (
	_ "sigs.k8s.io/cri-tools/cmd/crictl"
)
