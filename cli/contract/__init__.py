"""Commands for programs that use the contract: print it, and check a program or broker against it."""
