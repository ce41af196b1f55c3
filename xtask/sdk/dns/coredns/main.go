// CoreDNS with what is needed to forward, and nothing else of its plugins.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"

	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/forward"
)

func init() {
	dnsserver.Directives = []string{"errors", "cache", "forward"}
}

func main() {
	coremain.Run()
}
