// Package sdktest runs published WeChat SDKs, none of them changed, against real
// processes: zhongkong, the simulator, redis-server and nginx. For SDKs that no
// registry here has, the HTTP client that they use sends what they send. It is a
// separate module, so that the product does not depend on the SDKs. The programs of the
// page about recipes run here too, as they are there.
//
//	scripts/sdktest/run            compares the results with RESULTS.md
//	scripts/sdktest/run --table    writes RESULTS.md
package sdktest
