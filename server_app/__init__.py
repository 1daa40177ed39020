"""The server: picks clients, mixes their adapters, keeps the run. It never sees data, labels or the clients' layers."""
