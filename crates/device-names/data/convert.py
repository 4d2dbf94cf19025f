#!/usr/bin/env python3
"""Makes browsers.tsv and systems.tsv of uap-core's regexes.yaml.

Usage: convert.py path/to/regexes.yaml   (needs PyYAML)

A line is a regular expression, a tab, and the name that it gives; without a
name it gives what its first group matched. The order of the rules counts.
Versions and the rules for device models are left out.
"""
import pathlib
import sys

import yaml

HERE = pathlib.Path(__file__).parent


def write(name, rules, replacement):
    lines = []
    for rule in rules:
        line = f"{rule['regex']}\t{rule.get(replacement) or ''}"
        assert line.count("\t") == 1 and "\n" not in line, line
        lines.append(line + "\n")
    (HERE / name).write_text("".join(lines), encoding="utf-8")
    print(name, len(lines), "rules")


rules = yaml.safe_load(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))
write("browsers.tsv", rules["user_agent_parsers"], "family_replacement")
write("systems.tsv", rules["os_parsers"], "os_replacement")
