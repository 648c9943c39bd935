"""Evaluation records as `evaluate` returns them, made by hand, for the tests of checks and report."""


def measurement(value, error=0.0, unit="1", n_samples=10):
    """Return a measurement in its JSON form."""
    return {"value": value, "standard_error": error, "unit": unit, "n_samples": n_samples}


def make_system(**changes):
    """Return the measurements of one system that the checks read."""
    return {
        "n_frames": 500,
        "n_used": 500,
        "n_segments": 2,
        "temperature_set": {"value": 300.0, "unit": "K"},
        "kinetic_temperature": measurement(300.4, 0.5, "K"),
        "pressure": measurement(2500.0, 10.0, "bar"),
        "energy_drift": measurement(2.0, 5.0, "kJ/mol"),
        "closest_pair": {"a-a": {**measurement(0.283, None, "nm"), "n_samples": 500}},
        "forces": {
            "a": {
                "rms_component": measurement(193.5, 1.0, "kJ/mol/nm"),
                "mean_component": measurement(0.3, 0.2, "kJ/mol/nm"),
                "frame_correlation": measurement(-0.05, 0.01),
            }
        },
    } | changes


def make_comparison(*, rdf=0.012, adf=0.037, shift=0.001, height=0.94, pressure=2700.0, kinds=("a-a",)):
    """Return the comparison of one simulation with the reference."""
    chance = {"reference_error": measurement(0.004, 0.001), "expected_by_chance": measurement(0.006, 0.001)}
    return {
        "rdf": {
            kind: {
                "mean_difference": measurement(rdf, 0.001),
                "peak_shift": measurement(shift, 0.0005, "nm"),
                "peak_height_ratio": measurement(height, 0.01),
                **chance,
            }
            for kind in kinds
        },
        "adf": {"a-a-a": {"mean_difference": measurement(adf, 0.002), **chance}},
        "speed_up": {"a": measurement(2.5, 0.1)},
        "pressure_difference": measurement(pressure, 20.0, "bar"),
        "molecules": {},
    }


def make_divergence(value=0.01, chance=0.004, halves=0.012, symmetrised=None):
    """Return the divergence of two histograms, beside what chance and the reference's halves show."""

    def divergence(factor):
        half = measurement(factor * halves, None, "nat", 2)
        return {
            **measurement(factor * value, 0.002, "nat"),
            "expected_by_chance": measurement(factor * chance, None, "nat", 4),
            "halves": {"reference": half, "simulation": half},
        }

    return {
        "jensen_shannon": divergence(1.0),
        "kullback_leibler": divergence(4.0),
        "n_samples": {"reference": 10000.0, "simulation": 10000.0},
        "symmetrised": symmetrised,
    }


def make_molecule_comparison(*, surface=None, helix=0.02, error=0.01, is_symmetric=False, positive=0.003, curves=None):
    """Return the comparison of one kind of molecule with the reference."""
    surface = make_divergence() if surface is None else surface
    return {
        "surfaces": {"phi, psi": {"36": surface, "20": make_divergence(0.004)}},
        "basins": {"alphaR": measurement(helix, error), "beta/PII": measurement(-helix, error)},
        "bonded": {"bond C-N": make_divergence(0.002), **(curves or {})},
        "coordinates": {"radius of gyration": make_divergence(0.008)},
        "mirror": {
            "coordinate": "phi",
            "is_symmetric": is_symmetric,
            "asymmetry": {"reference": measurement(0.69, 0.01, "nat"), "simulation": measurement(0.6, 0.01, "nat")},
            "positive": {"reference": measurement(0.0, 0.0), "simulation": measurement(positive, 0.01)},
        },
    }


def make_evaluation(*, systems=None, comparisons=None):
    """Return the evaluation of a good methanol-like run, with changes."""
    return {
        "settings": {"window_start": 0.3, "window_end": 1.0},
        "systems": {
            "reference": make_system(pressure=measurement(-200.0, 10.0, "bar")),
            "network": make_system(),
            "pair_spline": make_system(),
        }
        | (systems or {}),
        "comparisons": {
            "network": make_comparison(),
            "pair_spline": make_comparison(rdf=0.020, adf=0.057),
        }
        | (comparisons or {}),
    }
