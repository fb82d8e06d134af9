"""Who finds a mistake, or no page, is led to where help is."""

from __future__ import annotations

import re

import lost
import mistakes
import pytest


@pytest.mark.parametrize("root", ["/", "/a/book/"])
def test_the_page_for_lost_addresses_works_at_any_depth(root):
    found = lost.body(root, {"book/coins": "3. Two & coins"})
    addresses = re.findall('(?:href|action)="([^"]+)"', found)
    assert all(address.startswith(root) for address in addresses)
    assert f'<a href="{root}book/coins.html">3. Two &amp; coins' in found


def test_a_mistake_is_sent_where_the_repository_is():
    assert "Open an issue where you had the book" in mistakes.where("")
    assert "<https://x.org/a/b/issues>" in mistakes.where(
        "https://x.org/a/b/"
    )
