"""Zabbix with PostgreSQL: trapper items, and the values of a report in one connection, as its agents send them."""

import gzip
import json
import os
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psycopg
from bench.products.product import MACHINES, VALUES, Product, Running, readings
from servers import Postgresql, listens, require_program, stop
from waiting import wait_until

SCHEMA = Path("/usr/share/zabbix-server-pgsql")
MAGIC = b"ZBXD\x01"
PORTS = range(20_051, 32_768)
"""It takes no higher one, so that it cannot use the ports that the system gives out."""
TRAPPER, WITHOUT_MONITORING, FLOAT, UNSIGNED = 2, 0, 0, 3
"""Numbers in Zabbix's database: a type of item, a status of a host, and two types of values."""


@contextmanager
def _zabbix(directory: Path) -> Iterator[Running]:
    program = require_program("zabbix_server", "zabbix-server-pgsql")
    database = Postgresql()
    try:
        database.start()
        where = f"host=127.0.0.1 port={database.port} user=postgres dbname=postgres"
        _create(where)
        port = next(port for port in PORTS if not listens(port))
        configuration = directory / "zabbix_server.conf"
        configuration.write_text(_configuration(directory, database.port, port))
        process = subprocess.Popen([program, "--foreground", "--config", str(configuration)])
        try:
            wait_until(lambda: listens(port) or process.poll() is not None, what="Zabbix listening")
            assert process.poll() is None, "Zabbix ended at once"
            requests = [_request(number) for number in range(MACHINES)]
            wait_until(lambda: _is_taken(port, requests[0]), what="Zabbix knowing its items")
            with psycopg.connect(where, autocommit=True) as connection:
                connection.execute("TRUNCATE history, history_uint")
            yield Running(partial(_feed, port, requests), partial(_stored, where))
        finally:
            stop(process, seconds=60)
    finally:
        database.remove()


def _feed(port: int, requests: list[bytes], count: int) -> None:
    for number in range(count):
        assert _is_taken(port, requests[number % MACHINES])


def _is_taken(port: int, request: bytes) -> bool:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(request)
        answer = b"".join(iter(partial(connection.recv, 4096), b""))
    return f"processed: {VALUES};".encode() in answer


def _stored(where: str) -> int:
    with psycopg.connect(where) as connection:
        rows = connection.execute("SELECT (SELECT count(*) FROM history) + (SELECT count(*) FROM history_uint)")
        return int(rows.fetchall()[0][0])


def _create(where: str) -> None:
    """Load the schema from the package, and add the machines with an item per value."""
    with psycopg.connect(where) as connection:
        for name in ("schema", "images", "data"):
            connection.execute(gzip.decompress((SCHEMA / f"{name}.sql.gz").read_bytes()))
        connection.execute("UPDATE hosts SET status = 1")  # those of the package: it watches itself
        for machine in range(MACHINES):
            host = 100_000 + machine
            connection.execute(
                "INSERT INTO hosts (hostid, host, name, status) VALUES (%s, %s, %s, %s)",
                (host, _name(machine), _name(machine), WITHOUT_MONITORING),
            )
            items = [
                (host * 100 + place, TRAPPER, host, name, name, FLOAT if isinstance(value, float) else UNSIGNED)
                for place, (name, value) in enumerate(readings(machine).items())
            ]
            with connection.cursor() as cursor:
                cursor.executemany(
                    "INSERT INTO items (itemid, type, hostid, name, key_, value_type) VALUES (%s, %s, %s, %s, %s, %s)",
                    items,
                )
                cursor.executemany("INSERT INTO item_rtdata (itemid) VALUES (%s)", [(item[0],) for item in items])


def _configuration(directory: Path, database_port: int, port: int) -> str:
    settings = {
        "ListenIP": "127.0.0.1",
        "ListenPort": port,
        "LogType": "file",
        "LogFile": directory / "log",
        "PidFile": directory / "pid",
        "SocketDir": directory,
        "DBHost": "127.0.0.1",
        "DBPort": database_port,
        "DBName": "postgres",
        "DBUser": "postgres",
        "AllowRoot": int(os.geteuid() == 0),
        "CacheSize": "256M",
        "HistoryCacheSize": "64M",
        "StartPingers": 0,
        "StartDiscoverers": 0,
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def _request(machine: int) -> bytes:
    data = [{"host": _name(machine), "key": name, "value": str(value)} for name, value in readings(machine).items()]
    body = json.dumps({"request": "sender data", "data": data}).encode()
    return MAGIC + struct.pack("<Q", len(body)) + body


def _name(machine: int) -> str:
    return f"m{machine:05}"


PRODUCTS = [
    Product(
        "Zabbix",
        f"{VALUES} values per connection",
        _zabbix,
        3_000,
        survives="seconds later",
        program="zabbix_server",
        package="zabbix-server-pgsql",
    )
]
