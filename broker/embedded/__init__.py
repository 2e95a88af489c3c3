"""The broker that runs inside a DashFleet process: amqtt's codec below our own connection handling."""
