"""Conformance: numbered assertions of the contract, and runs that check a program or a broker against them."""
