"""Price sheets: exact or refused, with the place (B154)."""

from __future__ import annotations

from pathlib import Path

import pytest

from heliograph.billing.prices.quoting import CallUse, quote
from heliograph.billing.prices.sheet import compile_book, read_sheet
from heliograph.billing.prices.values import Head, PriceBook, RateKey
from heliograph.core.errors import Code, HeliographError
from heliograph.core.money import Cost
from support.invoices import SHEET

EURO = 'currency = "EUR"\n'
CALLS = f'{EURO}[[rates]]\nmeter="calls"\n'
ONE = '{price="1"}'


def book(text: str) -> PriceBook:
    return compile_book(read_sheet(text), 1, 0, 0)


def rate(price: str, more: str = "") -> str:
    return f'{EURO}[[rates]]\nmeter = "images"\n{more}\nprice = {price}\n'


def use(**more: int) -> CallUse:
    return CallUse("detector", "cpu", **{
        **dict.fromkeys(("images", "rows", "pixels", "run_us", "bytes_in", "bytes_out"), 0), **more
    })  # fmt: skip


def test_a_price_of_a_ten_millionth_is_exact() -> None:
    made = book(rate('"0.0000001"'))
    assert made.rates[RateKey("images")].list_nanos == 100
    assert quote(made, use(images=10)) == Cost(1, "EUR", 1)
    assert quote(made, use(images=10_000_000)).amount_millionths == 1_000_000


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (rate('"-0.01"'), "rates[0].tiers[0]: a price is between 0 and 1000000"),
        (rate('"1e-7"'), "without exponent"),
        (rate('"0.0000000001"'), "9 decimal places"),
        (rate('"1000000.000000001"'), "between 0 and 1000000"),
        (rate('"1000000000000000000"'), "between 0 and 1000000"),
        (rate('"1000000000000000000000000"'), "a decimal number"),
        (rate('"0,01"'), "a decimal number"),
        (rate('" 1"'), "a decimal number"),
        (rate('"\u0661"'), "a decimal number"),
        (rate("0.01"), "as text, in quotes"),
        (rate('""'), "either price or tiers"),
        (rate('"1"', "free = -1"), "0 or more"),
        (rate('"1"', f"free = {10**18}"), "at most 1000000000000"),
        (rate('"1"', 'free = "0.5"'), "0 decimal places"),
        (rate('"1"', 'meter2 = "x"'), "unknown field"),
        (rate('"1"', 'model = "../x"'), "matching regex"),
        (rate('"1"') + '[[rates]]\nmeter="images"\nprice="2"\n', "stand in an earlier rate"),
        (f'{EURO}[[rates]]\nmeter="tokens"\nprice="1"\n', "there is no 'tokens'"),
        (f'{EURO}[[rates]]\nmeter="gb_days"\nmodel="x"\nprice="1"\n', "not known by model"),
        (f'{CALLS}tiers=[{{up_to=0, price="1"}}, {ONE}]\n', "above 0"),
        (f'{CALLS}tiers=[{{up_to=5, price="1"}}, {{up_to=5, price="1"}}, {ONE}]\n', "more than"),
        (f'{CALLS}tiers=[{{up_to=5, price="1"}}]\n', "every tier but the last"),
        ('currency = "EURO"\n', "length <= 3"),
        ('currency = "XXX"\n', "needs one"),
        ('currency = "ZZZ"\n', "no currency of ISO 4217"),
        ('currency = "eur"\n', "no currency of ISO 4217"),
        (f'{EURO}[plans.a]\ntitle="A"\nmonthly="1.001"\n', "2 decimal places"),
        (f'{EURO}[plans.a]\ntitle="A"\nmonthly="-1"\n', "0 or more"),
        (f'{EURO}[plans.a]\ntitle="A"\nmonthly="100000000000000000"\n', "below 2^53"),
        (f'{EURO}[plans.a]\ntitle="A"\ndiscounts={{usage=10001}}\n', "<= 10000"),
        (f'{EURO}[plans.a]\ntitle="A"\ndiscounts={{other=1}}\n', "is none of usage"),
        (f'{EURO}[plans.a]\ntitle="A\\r\\nBcc: x"\n', "matching regex"),
        (f'{EURO}default_plan="a"\n', "there is no plan 'a'"),
        (f'{EURO}[[taxes]]\nname="VAT"\nrate=19.5\n', "got `float`"),
        ("currency = ", "not TOML"),
    ],
)  # fmt: skip
def test_what_is_not_exact_or_not_known_is_refused_with_its_place(text: str, said: str) -> None:
    with pytest.raises(HeliographError) as refused:
        book(text)
    assert refused.value.code in {Code.VALIDATION, Code.UNKNOWN_FIELD}
    assert said in refused.value.detail


@pytest.mark.parametrize(
    ("currency", "fee", "minor"), [("JPY", "500", 500), ("KWD", "1.005", 1005)]
)
def test_currencies_have_their_own_minor_unit(currency: str, fee: str, minor: int) -> None:
    made = book(f'currency = "{currency}"\n[plans.a]\ntitle="A"\nmonthly="{fee}"\n')
    assert made.plan("a").monthly == minor


def test_the_closest_rate_holds() -> None:
    made = book(
        EURO
        + "".join(
            f'[[rates]]\nmeter="calls"\nprice="{price}"\n{more}\n'
            for price, more in [
                ("1", ""),
                ("2", 'device="gpu"'),
                ("3", 'model="a"'),
                ("4", 'model="a"\ndevice="gpu"'),
            ]
        )
    )
    asked = [("b", "cpu"), ("b", "gpu"), ("a", "cpu"), ("a", "gpu")]
    found = [made.rate("calls", *one) for one in asked]
    assert [one and one.list_nanos // 10**9 for one in found] == [1, 2, 3, 4]
    assert made.rate("images", "a", "gpu") is None


def test_a_quote_is_the_price_of_one_more_call_rounded_once() -> None:
    made = book(SHEET)
    # 0.01 + 12.345 ms x 0.0000021 + 0.00006 GB x 0.05 + 0.0000009 GB x 0.08 = 0.010028997
    told = quote(made, use(images=1, run_us=12_345, bytes_in=60_000, bytes_out=900))
    assert told == Cost(10_029, "EUR", 1)
    assert quote(made, use()) == Cost(0, "EUR", 1)


def test_the_sheet_of_the_documentation_is_right() -> None:
    page = (Path(__file__).parents[4] / "docs" / "howto" / "prices.md").read_text("utf-8")
    made = book(page.partition("```toml\n")[2].partition("```")[0])
    assert made.plan("team").discounts[Head.STORAGE] == 1000
    assert made.tariff("detector", "gpu").run_ms == 40_000
