"""Shows the machines of an organisation in Home Assistant, through its MQTT device discovery."""
