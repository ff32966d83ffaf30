"""Known vulnerabilities of the locked packages, by pip-audit: run in an environment that has it.

    python tests/reliability/nightly_audit.py locks/*.txt --report audit.json

Where the service answers "not found" for every package, as a mirror without advisories does, pip-audit
reports success; here that is "out of reach", and so is a failed connection. Local versions are unknown to the
service: ``torch==2.13.0+cpu`` is asked for as 2.13.0.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

SERVICES = ("pypi", "osv")


def public(lock: str) -> str:
    """The text of a lock with public versions only."""
    return re.sub(r"^([\w.-]+==[^\s+]+)\+\S+", r"\1", lock, flags=re.M)


def verdict(report: dict[str, Any]) -> tuple[list[str], int]:
    """Sentences on a report of pip-audit, and the exit code: 1 if a package has a known vulnerability."""
    packages = report["dependencies"]
    audited = [p for p in packages if "vulns" in p]
    if not audited:
        return [
            f"out of reach: the service knows none of the {len(packages)} packages; nothing was audited"
        ], 0
    skipped = [p["name"] for p in packages if "vulns" not in p]
    hit = [p for p in audited if p["vulns"]]
    lines = [f"{len(audited)} packages audited, {len(hit)} with known vulnerabilities"]
    if skipped:
        lines.append(f"not audited, unknown to the service: {', '.join(sorted(skipped))}")
    for package in hit:
        for v in package["vulns"]:
            fixed = ", ".join(v.get("fix_versions") or ()) or "none"
            lines.append(f"{package['name']} {package['version']}: {v['id']}; fixed in: {fixed}")
    return lines, int(bool(hit))


def unreachable(error: str) -> bool:
    """Whether pip-audit's error says that the service did not answer; any other error is a fault of ours."""
    return (
        re.search(r"ConnectionError|Could not connect|Max retries|[Tt]imed? ?out|resolution", error)
        is not None
    )


def asked(lock: Path, service: str) -> dict[str, Any] | str:
    """The report of pip-audit on a lock, or the last line of its error if the service did not answer.

    Raises:
        RuntimeError: pip-audit failed for another reason.
    """
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / lock.name
        copy.write_text(public(lock.read_text()))
        command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "-s", service]
        done = subprocess.run(
            [*command, "-r", str(copy), "-f", "json", "--progress-spinner", "off"],
            capture_output=True,
            text=True,
            check=False,
        )
    try:
        return json.loads(done.stdout)
    except json.JSONDecodeError as error:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        if unreachable(last):
            return last
        raise RuntimeError(f"pip-audit: {last}") from error


def audit(lock: Path) -> tuple[dict[str, Any], int]:
    """The report on one lock of the first service that answers, and the exit code; empty if none answers."""
    for service in SERVICES:
        found = asked(lock, service)
        if isinstance(found, str):
            print(f"audit of {lock.name}, {service}: out of reach: {found[:160]}")
            continue
        lines, code = verdict(found)
        print("\n".join(f"audit of {lock.name}, {service}: {line}" for line in lines))
        if any("vulns" in package for package in found["dependencies"]):
            return found, code
    print(f"audit of {lock.name}: no service could be asked; nothing is known of these packages")
    return {}, 0


def main() -> int:
    """Audit each lock by itself: the environments differ, and so may the versions of a package."""
    parser = argparse.ArgumentParser()
    parser.add_argument("locks", nargs="+", type=Path)
    parser.add_argument("--report", type=Path, required=True)
    chosen = parser.parse_args()
    found = {lock.name: audit(lock) for lock in chosen.locks}
    chosen.report.write_text(
        json.dumps({name: report for name, (report, _) in found.items()}, indent=1) + "\n"
    )
    return max(code for _, code in found.values())


if __name__ == "__main__":
    sys.exit(main())
