"""The fault campaign: `make faults`, or `python -m test.faults --help`."""
