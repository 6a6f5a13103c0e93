package metrics

// usage is what a process uses. What is not known on this system is negative.
type usage struct {
	cpuSeconds, startSeconds        float64
	openFDs, maxFDs                 float64
	residentBytes, virtualBytes     float64
	maxVirtualBytes                 float64
	receivedBytes, transmittedBytes float64
}

func unknownUsage() usage { return usage{-1, -1, -1, -1, -1, -1, -1, -1, -1} }

// processCollector sends the metrics of a process that Prometheus' own client has, with
// its names and texts.
func processCollector() collector {
	all := []struct {
		kind, name, help string
		of               func(usage) float64
		*desc
	}{
		{kind: counter, name: "cpu_seconds_total", help: "Total user and system CPU time spent in seconds.", of: func(u usage) float64 { return u.cpuSeconds }},
		{kind: gauge, name: "start_time_seconds", help: "Start time of the process since unix epoch in seconds.", of: func(u usage) float64 { return u.startSeconds }},
		{kind: gauge, name: "open_fds", help: "Number of open file descriptors.", of: func(u usage) float64 { return u.openFDs }},
		{kind: gauge, name: "max_fds", help: "Maximum number of open file descriptors.", of: func(u usage) float64 { return u.maxFDs }},
		{kind: gauge, name: "resident_memory_bytes", help: "Resident memory size in bytes.", of: func(u usage) float64 { return u.residentBytes }},
		{kind: gauge, name: "virtual_memory_bytes", help: "Virtual memory size in bytes.", of: func(u usage) float64 { return u.virtualBytes }},
		{kind: gauge, name: "virtual_memory_max_bytes", help: "Maximum amount of virtual memory available in bytes.", of: func(u usage) float64 { return u.maxVirtualBytes }},
		{kind: counter, name: "network_receive_bytes_total", help: "Number of bytes received by the process over the network.", of: func(u usage) float64 { return u.receivedBytes }},
		{kind: counter, name: "network_transmit_bytes_total", help: "Number of bytes sent by the process over the network.", of: func(u usage) float64 { return u.transmittedBytes }},
	}
	for i := range all {
		all[i].desc = newDesc(all[i].kind, "process_"+all[i].name, all[i].help)
	}
	return func(s *scrape) {
		now := readUsage()
		for _, m := range all {
			if v := m.of(now); v >= 0 {
				s.send(m.desc, v)
			}
		}
	}
}
