"""Bridges to other products. Each is a client of the broker that uses the message contract and nothing else."""
