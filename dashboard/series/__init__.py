"""Devices of a machine: file systems, disks, interfaces, cores, sensors, with their newest readings and charts."""
