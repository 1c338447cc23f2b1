"""Which way to ban works on this host: asked of the kernel, said in plain words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mailguard.clock import Clock
from mailguard.definitions.actions import Action, find_action
from mailguard.firewall import privileges
from mailguard.firewall.actions import build, parts_of
from mailguard.firewall.driver import Driver
from mailguard.firewall.interface import FirewallError, ports_of

#: What `auto` tries, in this order.
AUTO = ("nftables", "ipset")
#: Drivers whose system may come later: a share that is not mounted yet, tables that nobody made yet.
PATIENT = frozenset({"epost"})


def choose(
    action: str = "auto",
    ports: Mapping[str, Sequence[int]] | None = None,
    clock: Clock | None = None,
    etc: Path | None = None,
) -> tuple[Driver, str]:
    """The driver to use, not yet opened, and a sentence about it.

    "auto" takes the first that works, and a recording where none does. A name takes that action or nothing:
    raises FirewallError when it is not defined or does not work here. ProblemsError when the definition is
    broken.
    """
    if action != "auto":
        found = find_action(action, etc)
        if found is None:
            raise FirewallError(f"there is no action {action!r}")
        reason = probe(found)
        if reason and not patient(found):
            raise FirewallError(f"action {action} does not work here: {reason}")
        driver = build(found, clock, ports)
        words = [f"bans by action {action} ({found.title})"]
        words += [driver.caveat] if driver.caveat else []
        words += [f"not yet: {reason}"] if reason else []
        return driver, "; ".join(words)
    reasons = []
    if not privileges.has("net_admin"):
        reasons.append("this process may not change a firewall: it is not root and lacks CAP_NET_ADMIN")
    for name in () if reasons else AUTO:
        found = find_action(name, etc)
        if found is None:
            reasons.append(f"{name} is masked")
            continue
        reason = probe(found)
        if not reason:
            return build(found, clock, ports), f"bans by {name} ({found.title})"
        reasons.append(f"{name}: {reason}")
    only = f"bans are only recorded, nothing is blocked ({'; '.join(reasons)})"
    return build(Action("recording", "", "recording"), clock, ports), only


def patient(action: Action) -> bool:
    """Whether what hinders an action now may go away by itself, so that bans are tried until then."""
    if action.driver == "several":
        try:
            return all(patient(part) or not probe(part) for part in parts_of(action))
        except FirewallError:
            return False
    return action.driver in PATIENT


def caveat(name: str) -> str:
    """What an administrator should know of the bans by an action, for who only talks to its enforcer."""
    found = None if name == "auto" else find_action(name)
    return build(found).caveat if found is not None else ""


def wants_hosts(name: str) -> bool:
    """Whether the bans by an action need the hosts of IPv6 networks named (see `Driver.wants_hosts`)."""
    found = None if name == "auto" else find_action(name)
    return found is not None and build(found).wants_hosts


def probe(action: Action) -> str:
    """Why an action does not work here, in plain words; "" when it does. Changes nothing that lasts."""
    if action.driver in ("nftables", "ipset") and not privileges.has("net_admin"):
        return "this process is not root and lacks CAP_NET_ADMIN"
    if action.driver == "nftables":
        return _probe_nftables(action)
    if action.driver == "ipset":
        return _probe_ipset(action)
    if action.driver == "epost":
        from mailguard.firewall import epost

        driver = build(action)
        return epost.probe(driver) if isinstance(driver, epost.Epost) else ""
    if action.driver == "several":
        try:
            reasons = [(part, probe(part)) for part in parts_of(action)]
        except FirewallError as error:
            return str(error)
        return "; ".join(f"{part.name}: {reason}" for part, reason in reasons if reason)
    if action.driver == "synology":
        from mailguard.firewall.synology import Synology

        driver = build(action)
        return driver.probe() if isinstance(driver, Synology) else ""
    return ""


def _probe_nftables(action: Action) -> str:
    from mailguard.firewall import nftlayout
    from mailguard.firewall.libnftables import Nft, NftError

    # The kernel checks the whole layout and takes nothing of it.
    table = "mailguard_probe"
    priority = action.options.get("priority", nftlayout.PRIORITY)
    script = nftlayout.sets(table) + nftlayout.rules(ports_of(None), table, priority)
    try:
        with Nft() as nft:
            nft.run(script, dry=True)
    except NftError as error:
        return str(error).partition("Error: ")[2] or str(error)
    return ""


def _probe_ipset(action: Action) -> str:
    from mailguard.firewall import ipset, xtables

    try:
        ipset.probe(action.options.get("iptables", "iptables"))
        if "iptables" not in action.options and not xtables.is_legacy():
            return "iptables here is the nftables variant: use the action nftables"
    except FirewallError as error:
        return str(error)
    return ""
