"""The name of a machine in a sentence or a list: its hostname, and its id unless the hostname says it. Pure."""

from schemas.contract.topics import slug


def machine_name(id_: str, hostname: str | None) -> str:
    """Return a machine's hostname, with the id after it if the hostname does not say it: several may share one."""
    known = hostname or id_
    return known if tells(known, id_) else f"{known} ({id_})"


def tells(hostname: str, id_: str) -> bool:
    """Return True if the hostname, with or without its domain, says the machine's id."""
    return id_ in (slug(hostname), slug(hostname.partition(".")[0]))
