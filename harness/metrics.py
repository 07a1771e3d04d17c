"""One scrape of /metrics."""

import urllib.request

from prometheus_client.parser import text_string_to_metric_families


class Metrics:
    def __init__(self, text: str):
        self.text = text
        self.families = {f.name: f for f in text_string_to_metric_families(text)}
        self._samples = [s for f in self.families.values() for s in f.samples]

    @classmethod
    def scrape(cls, address: str) -> "Metrics":
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
            return cls(answer.read().decode())

    def total(self, name: str, **labels: str) -> float:
        """The sum over all series of that name with those labels; 0 if there is none. A histogram's
        are NAME_sum, NAME_count and NAME_bucket. `denoise_` is left out."""
        return sum(s.value for s in self._samples if s.name == f"denoise_{name}" and labels.items() <= s.labels.items())

    def buckets(self, name: str) -> dict[float, float]:
        """Upper bound to how many observations lie at or below it, over all series."""
        counts: dict[float, float] = {}
        for s in self._samples:
            if s.name == f"denoise_{name}_bucket":
                bound = float(s.labels["le"])
                counts[bound] = counts.get(bound, 0) + s.value
        return dict(sorted(counts.items()))
