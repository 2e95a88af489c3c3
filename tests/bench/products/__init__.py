"""Other products that store the reports of many machines, each one file, fed as their agents feed them."""
