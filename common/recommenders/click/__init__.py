"""The click model of FedPA: the model, its warm start on disk, the run's own."""
