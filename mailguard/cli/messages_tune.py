"""The sentences of `mailguard tune`; `messages` takes them in."""

from __future__ import annotations

TUNE: dict[str, str] = {
    # arguments
    "tune.axis": "'{text}' is no axis with values (such as count=3,5,8); there are: {axes}",
    "tune.number": "--grid {axis}: '{text}' is no whole number from {least} to {most}",
    "tune.key": "--grid key: there is no key '{text}'; there are: {keys}",
    "tune.duration": "--grid {axis}: '{text}' is no length of time (such as 10m, 1h30m, 7d)",
    "tune.no-axis": "{detector} has no {axis} to try; it has: {axes}",
    "tune.many": (
        "these are {count} setting(s), and at most {most} are tried; name fewer values, or raise --most"
    ),
    "tune.grid-one": "--grid is about one detector: name it with --detector",
    "tune.twice": "--grid {axis} is given twice",
    "tune.no-detector": "There is no detector '{name}' in these settings.{hint}",
    "tune.nothing": "none of the detectors that ban counts any event of these logs",
    # progress
    "tune.trying": "trying",
    "tune.rate": "{done} of {count} setting(s)",
    "tune.interrupted": "interrupted: {done} of {count} setting(s) were tried",
    "tune.interrupted-reading": "interrupted while the logs were read: no setting was tried",
    "tune.summary": (
        "{events} event(s) over {span}; {settings} setting(s) tried in {seconds} s "
        "({reading} s of it to read)"
    ),
    "tune.replayed": "{count} setting(s) replayed one by one, because {why}",
    "tune.replayed-caps": "with them somebody would have had to give way at a cap",
    "tune.replayed-compiled": "the core is not compiled here",
    "tune.replayed-kinds": "the detectors count in more different ways than are tried together",
    "tune.replayed-year": "the logs span more than a year",
    "tune.replayed-room": "more sources and names came than the settings let the guard remember",
    # the answer
    "tune.title": "{detector}: {settings} setting(s) of {axes}",
    "tune.axis-values": "{axis} {values}",
    "tune.table": "The frontier, from the least harm to the most ({count} of {settings} setting(s))",
    "tune.table-more": (
        "The frontier, from the least harm to the most ({shown} of {count} setting(s) on it; -o csv has all)"
    ),
    "tune.present": "now",
    "tune.advised": "advised",
    "tune.both": "now, advised",
    "tune.plot": "let through (%) over bans that hurt somebody known",
    "tune.plot-all": "tried",
    "tune.plot-frontier": "frontier",
    "tune.no-plot": (
        "A plot of the frontier needs a package that is not installed: pip install 'mailguard[plot]'"
    ),
    "tune.recommend": "Recommended: {setting}",
    "tune.recommend-keep": "Recommended: keep the present setting ({setting})",
    "tune.paste": "To paste into the settings:",
    "tune.setting-value": "{axis} = {value}",
    # reasons
    "tune.why-unfinished": "The present setting was not tried, so there is nothing to compare with.",
    "tune.why-quiet": "There is no hostile event in these logs.",
    "tune.why-never-fires": "{detector} would not have banned anybody under any of these settings.",
    "tune.why-keep": (
        "No other setting stops much more, or spares anybody, without paying for it with the other."
    ),
    "tune.why-stops": (
        "It stops {more} more hostile event(s): {share} of them are let through instead of {was}."
    ),
    "tune.why-costs": "It lets {more} more hostile event(s) through: {share} of them instead of {was}.",
    "tune.why-spares": "It hurts somebody known with {hurt} ban(s) instead of {was}.",
    "tune.why-hurts": "It hurts somebody known with {hurt} ban(s) instead of {was}.",
    "tune.why-beyond": (
        "Beyond it, the strictest would stop {more} more hostile event(s) and hurt with {hurt} more ban(s)."
    ),
    "tune.why-before": (
        "The gentlest would hurt with {hurt} ban(s) fewer and let {more} more hostile event(s) through."
    ),
    "tune.why-end": "No setting that was tried lets less through.",
    "tune.why-nobody": "Nobody known would have been locked out.",
    "tune.why-somebody": (
        "{hurt} ban(s) would have locked out somebody known: {accounts} account(s) and {partners} partner "
        "domain(s)."
    ),
    # doubts
    "tune.doubt-one-day": "The logs span {span}: one day says little about the next.",
    "tune.doubt-window": (
        "The logs span {span}, which is shorter than a window that was tried ({within}): what such a window "
        "would count is not in them."
    ),
    "tune.doubt-twice": (
        "The logs span {span}, not twice the recommended window ({within}): it could hardly fill again."
    ),
    "tune.doubt-few-attackers": (
        "At most {bans} ban(s) by this detector under any setting: too few attackers to tell settings apart."
    ),
    "tune.doubt-few-known": (
        "Only {logins} login(s) and {mail} accepted message(s) in these logs: whom a ban would hurt can "
        "hardly be seen."
    ),
    "tune.doubt-no-logins": "No login is in these logs: whether own users would be hurt cannot be seen.",
    "tune.doubt-no-mail": "No accepted mail is in these logs: whether partners would be hurt cannot be seen.",
    "tune.doubt-shut-out": (
        "The guard had {bans} ban(s) of its own in that time: what those sources would have done is not in "
        "the logs."
    ),
    # columns
    "column.setting": "setting",
    "column.through-share": "through",
    "column.caught": "caught",
    "column.missed": "never",
    "column.median-delay": "median",
    "column.worst-delay": "worst",
    "column.hurting": "hurt",
    "column.accounts": "accounts",
    "column.partners": "partners",
    "column.peak": "peak",
    "column.mark": "",
}
