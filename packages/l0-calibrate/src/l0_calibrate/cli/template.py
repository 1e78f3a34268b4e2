"""``template``: the totals that margins ask for, to be filled in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import attrs
import typer

from l0_calibrate.cli.bundles import bundled
from l0_calibrate.cli.display import console, json_text
from l0_calibrate.cli.sources import IdOption, MembersOption, Screen, WeightOption, tables_of
from l0_core import InputError

_COLUMNS = "COLUMN[,COLUMN]"


@attrs.frozen
class Microdata:
    """The microdata."""

    microdata: Annotated[Path, typer.Option("--microdata", help="Microdata (.parquet or .csv).")]
    weight: WeightOption = None
    record_id: IdOption = None
    members: MembersOption = None


@attrs.frozen
class Margins:
    """The totals wanted."""

    by: Annotated[
        list[str] | None,
        typer.Option(metavar=_COLUMNS, help="A margin: a total for each value, or each combination; repeatable."),
    ] = None
    sum_: Annotated[str | None, typer.Option("--sum", metavar=_COLUMNS, help="Columns of which a total is wanted.")] = (
        None
    )
    count: Annotated[
        str | None,
        typer.Option(
            metavar=_COLUMNS, help="Columns of which those that are not 0 are counted; '*' counts records (default)."
        ),
    ] = None
    overall: Annotated[bool, typer.Option("--overall", help="The totals over all records too.")] = False
    entity: Annotated[
        str | None, typer.Option(metavar="NAME", help="The table of --members whose rows are added up.")
    ] = None


@bundled
def template(
    *,
    source: Microdata,
    margins: Margins,
    out: Annotated[Path, typer.Option("--out", help="File for the table of targets (.csv); it must not exist yet.")],
    screen: Screen,
) -> None:
    """Write the table of targets that margins ask for: all is there but the values, which you fill in.

    Beside each total stands what the microdata come to now. Then: l0-calibrate check --microdata people.parquet
    --targets totals.csv.

    Example: l0-calibrate template --microdata people.parquet --by state --by age,sex --sum wages --out totals.csv
    """
    from l0_calibrate.folders import check_file, file_transaction
    from l0_calibrate.problem.files import read_table
    from l0_calibrate.problem.template import target_template

    if out.suffix.lower() != ".csv":
        raise InputError(f"--out must name a .csv file, got {out}")
    if out.exists():
        raise InputError(f"{out} is there already, with values filled in perhaps; name another file or move it away")
    check_file(out)
    table = target_template(
        read_table(source.microdata),
        [_listed("--by", margin) for margin in margins.by or []],
        sums=() if margins.sum_ is None else _listed("--sum", margins.sum_),
        counts=() if margins.count is None else _listed("--count", margins.count),
        overall=margins.overall,
        entity=margins.entity,
        weight="initial_weight" if source.weight is None else source.weight,
        record_id=source.record_id,
        members=tables_of(source.members),
    )
    with file_transaction(out) as scratch:
        table.to_csv(scratch, index=False)
    if screen.json_:
        print(json_text({"targets": len(table), "out": str(out)}))
    elif not screen.quiet:
        console().print(f"written: {out}: {len(table):,} targets; fill in the column value", soft_wrap=True)


def _listed(option: str, text: str) -> list[str]:
    columns = [column.strip() for column in text.split(",")]
    if not all(columns):
        raise InputError(f"{option} {text!r} must be columns, with a comma between two")
    return columns
