#!/usr/bin/env python3
"""Writes base/rules.yaml, a PrometheusRule, from the rules of deploy/prometheus, which are its source:
kustomize cannot put a file's content into a resource of an operator. A test compares the two.

    deploy/kubernetes/make_rules.py
"""

from pathlib import Path

FOLDER = Path(__file__).resolve().parent
SOURCES = [FOLDER.parent / "prometheus" / name for name in ("recording.yml", "alerts.yml")]
TARGET = FOLDER / "base" / "rules.yaml"
HEAD = """\
# For Prometheus Operator. Written by ../make_rules.py from ../../prometheus: change it there.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: denoised
  labels: {app.kubernetes.io/name: denoised}
spec:
  groups:
"""


def rules() -> str:
    """What the file is to hold, comments within the groups and all."""
    text = HEAD
    for source in SOURCES:
        _, groups = source.read_text().split("\ngroups:\n")
        text += "".join(f"  {line}\n" if line else "\n" for line in groups.splitlines())
    return text


if __name__ == "__main__":
    TARGET.write_text(rules())
    print(TARGET)
