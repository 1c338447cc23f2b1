"""Where effects go: nftables, ipset with iptables, commands, a recording."""
