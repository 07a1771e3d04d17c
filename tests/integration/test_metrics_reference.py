"""docs/metrics.md against a server at which everything has happened that makes a series."""

import re

import numpy as np
import pytest

from harness.api import pb, sample, tensor
from harness.errors import failing
from harness.models import SickDenoiser, write_model
from harness.paths import ROOT
from harness.server import ONE_ENGINE

ROW = re.compile(r"^\| `((?:denoise|process)_\w+)` \| (\w+) \| ([\w, ]*?) ?\| .+ \|$", re.MULTILINE)


def documented() -> dict[str, tuple[str, frozenset[str]]]:
    """Family to its type and labels."""
    text = (ROOT / "docs" / "metrics.md").read_text()
    rows = ROW.findall(text)
    assert len(rows) == len(re.findall(r"^\| `", text, re.MULTILINE)), "a row that is not understood"
    return {name: (kind, frozenset(filter(None, labels.split(", ")))) for name, kind, labels in rows}


@pytest.fixture
def scraped(start_server, tmp_path) -> dict[str, tuple[str, frozenset[str]]]:
    model = write_model(tmp_path / "sick", SickDenoiser(raises=False))
    server = start_server(*ONE_ENGINE, "--batch-sizes", "1,4", model=model)
    sample(server.stub, seed=1, sampler=dict(steps=2), states=dict(every_n_steps=1))
    failing(server.stub.Sample, pb.SampleRequest(num_samples=1000), timeout=10)
    sick = pb.SampleRequest(initial_noise=tensor(np.full((1, 3, 8, 8), 1000.0)))
    failing(server.stub.Sample, sick, timeout=20)
    metrics = server.until(
        lambda m: m.total("chains_failed_total") and m.total("requests_rejected_total"), what="both are counted"
    )
    return {
        # The parser takes the ending off a counter's family.
        f"{name}_total" if family.type == "counter" else name: (
            family.type,
            frozenset(label for s in family.samples for label in s.labels) - {"le"},
        )
        for name, family in metrics.families.items()
    }


def test_every_family_is_documented_and_no_other(scraped):
    pages = documented()
    assert pages.keys() - scraped.keys() == set(), "documented, and not there"
    assert scraped.keys() - pages.keys() == set(), "there, and not documented"
    assert {name: pages[name] for name in scraped} == scraped
