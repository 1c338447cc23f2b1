"""The text of mailguard's nftables table, and whether it stands.

Table `inet mailguard`: for each scope five sets (see `desired.KINDS`), an `allowed` set that is asked
first, and one chain that hooks prerouting before connection tracking. What comes over loopback is never
asked. Sets are made first and filled, the rules come last: so traffic sees no half-filled firewall, and new
rules replace old ones in one transaction while the sets keep their elements.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mailguard.firewall import netlink
from mailguard.firewall.desired import HOST4, HOST6, KINDS, NET4, NET6, PREFIX6
from mailguard.firewall.interface import SCOPES

#: Before connection tracking (-200) and `raw` (-300), behind defragmentation (-400): ports are readable.
PRIORITY = -310
TABLE = "mailguard"

# Every element of an interval set gets a counter from the set. Elements of host sets bring their own, because
# a counter triples what an element costs the kernel and a restore adds it later; `dynamic` is what lets nft
# read a saved ruleset with such elements back (lookups in dynamic sets: Linux 5.4).
_TYPES = {
    HOST4: "type ipv4_addr; flags dynamic, timeout; size 4000000;",
    HOST6: "type ipv6_addr; flags dynamic, timeout; size 4000000;",
    PREFIX6: "type ipv6_addr; flags dynamic, timeout; size 4000000;",
    NET4: "type ipv4_addr; flags interval, timeout; counter;",
    NET6: "type ipv6_addr; flags interval, timeout; counter;",
}
_LOOKUPS = {
    HOST4: "ip saddr @{}",
    NET4: "ip saddr @{}",
    HOST6: "ip6 saddr @{}",
    PREFIX6: "ip6 saddr & ffff:ffff:ffff:ffff:: @{}",
    NET6: "ip6 saddr @{}",
}

_TABLE_NAME, _TABLE_FLAGS = 1, 2
_NAME_OF_TABLE = 1  # attribute 1 of every other object
_CHAIN_NAME, _CHAIN_HOOK, _CHAIN_POLICY = 3, 4, 5
_RULE_CHAIN, _RULE_EXPRESSIONS = 2, 4
_SET_NAME, _SET_FLAGS, _SET_KEY_TYPE, _SET_KEY_LENGTH = 2, 3, 4, 5


def set_name(scope: int, kind: str) -> str:
    return f"{SCOPES[scope]}_{kind}"


def sets(table: str = TABLE) -> str:
    """The table and its sets; running it again changes nothing."""
    lines = [f"add table inet {table}"]
    for family in "46":
        lines.append(f"add set inet {table} allowed{family} {{ type ipv{family}_addr; flags interval; }}")
    for scope in SCOPES:
        lines += [f"add set inet {table} {scope}_{kind} {{ {_TYPES[kind]} }}" for kind in KINDS]
    return "\n".join(lines) + "\n"


def rules(ports: Mapping[str, Sequence[int]], table: str = TABLE, priority: int = PRIORITY) -> str:
    """The chains and their rules, replacing those that are there."""
    lines = [
        f"add chain inet {table} prerouting "
        f"{{ type filter hook prerouting priority {priority}; policy accept; }}",
    ]
    scopes = (*ports, "all")
    for scope in scopes:
        lines.append(f"add chain inet {table} {scope}_ports")  # "all" by itself is a word of nft's
    for chain in ("prerouting", *(f"{scope}_ports" for scope in scopes)):
        lines.append(f"flush chain inet {table} {chain}")
    for scope in scopes:
        asked = (_LOOKUPS[kind].format(f"{scope}_{kind}") for kind in KINDS)
        lines += [f"add rule inet {table} {scope}_ports {lookup} drop" for lookup in asked]
    first = f"add rule inet {table} prerouting"
    lines += [f"{first} iif lo return", f"{first} ip saddr @allowed4 return"]
    lines += [f"{first} ip6 saddr @allowed6 return", f"{first} jump all_ports"]
    for scope, numbers in ports.items():
        lines.append(f"{first} tcp dport {{ {', '.join(map(str, numbers))} }} jump {scope}_ports")
    return "\n".join(lines) + "\n"


def fingerprint(link: netlink.Netlink, table: str = TABLE) -> dict[str, bytes]:
    """What stands, without its elements: a name for each object of the table, and its substance.

    Raises OSError and InterruptedDump; an empty answer means that there is no such table.
    """
    wanted = table.encode() + b"\0"
    seen: dict[str, bytes] = {}
    for _kind, view in link.dump(netlink.GETTABLE):
        found = netlink.attributes(view)
        if bytes(found.get(_TABLE_NAME, b"")) == wanted:
            seen["table"] = bytes(found.get(_TABLE_FLAGS, b""))
    if not seen:
        return seen
    for _kind, view in link.dump(netlink.GETCHAIN):
        found = netlink.attributes(view)
        if bytes(found.get(_NAME_OF_TABLE, b"")) == wanted:
            parts = [bytes(found.get(part, b"")) for part in (_CHAIN_HOOK, _CHAIN_POLICY)]
            seen[f"chain {_name(found[_CHAIN_NAME])}"] = b"|".join(parts)
    for _kind, view in link.dump(netlink.GETSET, netlink.text(_NAME_OF_TABLE, table)):
        found = netlink.attributes(view)
        name = _name(found[_SET_NAME])
        if not name.startswith("__"):  # the unnamed sets of the rules' ports: new names at every renewal
            parts = [bytes(found.get(part, b"")) for part in (_SET_FLAGS, _SET_KEY_TYPE, _SET_KEY_LENGTH)]
            seen[f"set {name}"] = b"|".join(parts)
    for _kind, view in link.dump(netlink.GETRULE, netlink.text(_NAME_OF_TABLE, table)):
        found = netlink.attributes(view)
        if bytes(found.get(_NAME_OF_TABLE, b"")) == wanted:
            chain = f"rules of {_name(found[_RULE_CHAIN])}"
            seen[chain] = seen.get(chain, b"") + b"|" + bytes(found.get(_RULE_EXPRESSIONS, b""))
    return seen


def differing(before: Mapping[str, bytes], now: Mapping[str, bytes]) -> list[str]:
    """In words: what of `before` is gone or changed, what came new."""
    words = []
    if before and not now:
        return ["the table is gone"]
    for name in sorted(before.keys() | now.keys()):
        if name not in now:
            words.append(f"{name}: gone")
        elif name not in before:
            words.append(f"{name}: foreign")
        elif before[name] != now[name]:
            words.append(f"{name}: changed")
    return words


def _name(view: memoryview) -> str:
    return bytes(view).rstrip(b"\0").decode(errors="replace")
