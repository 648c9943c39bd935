"""A study of two pressures from sampling to report: boxes that move, densities, and a state that cannot be sampled."""

import json

import numpy as np
import pytest

from beadsmith.io.h5md import read_trajectory
from beadsmith.study.engine import do_study
from beadsmith.units import BAR
from example_studies import describe_base, make_study


def test_a_grid_of_pressures_compares_densities_and_a_box_that_is_too_small_is_a_result(tmp_path):
    """Sixty kilobars press the box of the atoms below twice their cutoff (0.93 g/cm³) within a picosecond."""
    base = describe_base(
        sampling={
            "duration": "2.5 ps",
            "equilibration": "0.5 ps",
            "cutoff": "0.66 nm",
            "initial_density": "0.75 g/cm^3",
            "barostat_interval": "0.02 ps",
        },
        simulation={"barostat": {"interval": "0.02 ps"}},
    )
    grid = {"kind": "transfer", "pressures": ["1 bar", "60 kbar"], "sets": {"low": {"pressures": ["1 bar"]}}}
    study = make_study(tmp_path, base=base, **grid, networks={"spline": "none"})
    result = do_study(study, (tmp_path / "study.yaml").read_bytes())
    assert not result.refused
    assert result.records["sample-60kbar"].status == "failed"
    assert "below twice the cutoff" in result.records["sample-60kbar"].error
    found = json.loads((study.folder / "study.json").read_text())["runs"]
    assert [found[f"spline-low-at-{state}"]["status"] for state in ("1bar", "60kbar")] == ["done", "skipped"]
    errors = found["spline-low-at-1bar"]["errors"]
    assert errors["density"]["unit"] == "g/cm^3"
    assert "pressure" not in errors
    frames = read_trajectory(study.run_folder("spline-low-at-1bar") / "simulation.h5")
    assert frames.state_point.pressure == pytest.approx(BAR)
    assert all(np.ptp(frames.volumes()[frames.segment == replica]) > 0.0 for replica in (0, 1))
