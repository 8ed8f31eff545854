package httpapi

import (
	"net/http"
	"strings"
)

// proxyHeaders are those by which proxies, load balancers and content delivery
// networks say that they pass a request on. No program sends one of its own. Names
// are in lower case.
var proxyHeaders = map[string]bool{
	"forwarded": true, "via": true, "cdn-loop": true, // RFC 7239, RFC 9110, RFC 8586
	"x-real-ip": true, "x-client-ip": true, "x-cluster-client-ip": true, "true-client-ip": true, "client-ip": true, "x-remote-ip": true,
	"x-remote-addr": true, "x-originating-ip": true, "x-host": true, "x-scheme": true, "x-url-scheme": true, "front-end-https": true,
	"proxy-connection": true, "proxy-authorization": true, "proxy-client-ip": true, "wl-proxy-client-ip": true,
	"fastly-client-ip": true, "fly-client-ip": true, "x-azure-clientip": true, "x-varnish": true, "x-proxyuser-ip": true,
}

// proxyPrefixes are beginnings of such names: every X-Forwarded-…, what nginx and
// its like keep of the original request, and what services add.
var proxyPrefixes = []string{"x-forwarded", "x-forward-", "x-original-", "x-proxy-", "x-envoy-", "x-accel-", "x-arr-", "cf-", "tailscale-"}

// passedOn tells a request that a proxy has passed on: whoever asked that may be
// anywhere. Some proxies and gateways write _ where the name has a -.
func passedOn(h http.Header) bool {
	for name := range h {
		name = strings.ReplaceAll(strings.ToLower(name), "_", "-")
		if proxyHeaders[name] {
			return true
		}
		for _, prefix := range proxyPrefixes {
			if strings.HasPrefix(name, prefix) {
				return true
			}
		}
	}
	return false
}
