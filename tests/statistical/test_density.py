"""Liquid methanol with OPLS-AA against another engine: density at 1 bar, virial pressure, pair distribution; water.

Density, published: 777 kg/m³ at 298.15 K and 1 bar for OPLS/AA methanol (C. Caleman et al., J. Chem. Theory Comput. 8,
61 (2012), DOI 10.1021/ct200731v; the value stands, beside 774 kg/m³ of GROMACS 5.1, in GROMACS issue 2071, opened by an
author of that paper). Experiment: 0.7866 g/cm³; the united-atom OPLS of 1986 gives about 0.76 g/cm³.

Density, another engine: GROMACS 2022.5 with the OPLS-AA files it distributes (the published parameters; types opls_154
to opls_157 and the 1-4 pairs of the torsion), 256 molecules, 298.15 K, 1 bar, bonds to hydrogen constrained, cutoff
0.95 nm, PME, dispersion correction, v-rescale and C-rescale, 1.1 ns after 200 ps: 0.77645 ± 0.0011 g/cm³.

Pair distribution: the methanol tutorial of VOTCA (V. Rühle et al., J. Chem. Theory Comput. 5, 3211 (2009)), GROMACS
with the same types, flexible bonds and a cutoff of 1.22 nm: 1,000 molecules at 300 K in a box of 4.09 nm.
"""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from beadsmith.io.h5md import read_trajectory
from beadsmith.sampling.run import SamplingSettings, sample
from beadsmith.sampling.systems import MoleculeCount, SystemSettings
from beadsmith.statistics import block_mean_and_error
from beadsmith.trajectory import StatePoint
from beadsmith.units import BAR, GRAM_PER_CUBIC_CENTIMETRE, thermal_energy

pytestmark = pytest.mark.slow

DATA = Path(os.environ.get("BEADSMITH_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
PUBLISHED_DENSITY = 0.777 * GRAM_PER_CUBIC_CENTIMETRE
GROMACS_DENSITY, GROMACS_ERROR = 0.77645 * GRAM_PER_CUBIC_CENTIMETRE, 0.0011 * GRAM_PER_CUBIC_CENTIMETRE
VOTCA_DENSITY = 1000 * 32.0424 / 4.09**3  # u/nm³
AMBIENT = StatePoint(temperature=298.15, pressure=BAR)


@pytest.fixture(scope="module")
def isobaric(tmp_path_factory):
    """Return 140 ps of 128 methanols at 298.15 K and 1 bar."""
    path = tmp_path_factory.mktemp("density") / "reference.h5"
    settings = SamplingSettings(
        equilibration=30.0,
        duration=140.0,
        save_interval=0.4,
        checkpoint_interval=10.0,
        cutoff=0.95,
        initial_density=0.72 * GRAM_PER_CUBIC_CENTIMETRE,
    )
    system = SystemSettings(molecules=(MoleculeCount(name="methanol", count=128),))
    sample(settings, system, AMBIENT, path, seed=1, identity="density")
    return read_trajectory(path)


def test_density_of_methanol_at_1_bar_is_the_published_one_and_that_of_gromacs_within_2_percent(isobaric):
    volume, error = block_mean_and_error(isobaric.volumes(), n_blocks=7)
    density = isobaric.topology.total_mass / volume
    # 20 ps blocks; expected relative error 0.3 %
    assert error / volume < 0.008
    assert density == pytest.approx(PUBLISHED_DENSITY, rel=0.02)
    # the same parameters in another engine: nothing but chance, which the bound of 4 standard errors keeps within 2 %
    assert abs(density - GROMACS_DENSITY) < 4.0 * np.hypot(GROMACS_ERROR, density * error / volume)


def test_mean_virial_pressure_at_constant_pressure_is_the_applied_one_within_4_standard_errors(isobaric):
    volumes = isobaric.volumes()
    virial = np.trace(isobaric.virial, axis1=1, axis2=2)
    pressures = (isobaric.topology.n_molecules * thermal_energy(298.15) + virial / 3.0) / volumes
    mean, error = block_mean_and_error(pressures / BAR, n_blocks=14)
    # Frames scatter by 590 bar and follow the slow volume: 140 ps give an error of 45 to 60 bar, itself known to 20 %.
    # The kinetic part is 360 bar; the test must be able to see it missing or counted twice, 4 standard errors away
    assert 4.0 * error < 360.0
    assert abs(mean - 1.0) < 4.0 * error


def test_density_of_spce_water_at_1_bar_is_the_published_one_within_2_percent(tmp_path):
    settings = SamplingSettings(
        equilibration=30.0, duration=100.0, save_interval=0.4, checkpoint_interval=10.0, cutoff=0.9,
        initial_density=0.95 * GRAM_PER_CUBIC_CENTIMETRE,
    )  # fmt: skip
    system = SystemSettings(molecules=(MoleculeCount(name="water", count=216),))
    sample(settings, system, replace(AMBIENT, temperature=306.0), tmp_path / "water.h5", seed=1, identity="water")
    frames = read_trajectory(tmp_path / "water.h5")
    volume, error = block_mean_and_error(frames.volumes(), n_blocks=5)
    assert error / volume < 0.008
    # 0.998 g/cm³ at 306 K: H. J. C. Berendsen et al., J. Phys. Chem. 91, 6269 (1987), table 2
    expected = 0.998 * GRAM_PER_CUBIC_CENTIMETRE
    assert frames.topology.total_mass / volume == pytest.approx(expected, rel=0.02)


def pair_distribution(trajectory, edges):
    """Return the pair distribution of mass centres, normalised by N/V."""
    topology = trajectory.topology
    n_molecules, n_atoms = topology.n_molecules, topology.n_sites // topology.n_molecules
    weights = topology.masses[:n_atoms] / topology.masses[:n_atoms].sum()
    shape = (trajectory.n_frames, n_molecules, n_atoms, 3)
    centres = np.einsum("a,fmax->fmx", weights, trajectory.positions.reshape(shape))
    i, j = np.triu_indices(n_molecules, 1)
    histogram, ideal = np.zeros(len(edges) - 1), 0.0
    for frame, edge in zip(centres, trajectory.cell[:, 0, 0].astype(float), strict=True):
        vectors = frame[i] - frame[j]
        distances = np.linalg.norm(vectors - edge * np.round(vectors / edge), axis=1)
        histogram += np.histogram(distances, edges)[0]
        ideal += 0.5 * n_molecules**2 / edge**3
    return histogram / (ideal * 4.0 / 3.0 * np.pi * np.diff(edges**3))


@pytest.mark.external
def test_pair_distribution_of_mass_centres_is_that_of_gromacs(tmp_path):
    file = DATA / "methanol-aa-votca" / "rdf_methanol.xvg"
    if not file.is_file():
        pytest.skip(f"no external data at '{file}' (set BEADSMITH_DATA)")
    r, expected = np.loadtxt(file, comments=("#", "@"), unpack=True)
    settings = SamplingSettings(equilibration=15.0, duration=40.0, save_interval=0.2, cutoff=1.0)
    system = SystemSettings(molecules=(MoleculeCount(name="methanol", count=256),))
    state = StatePoint(temperature=300.0, density=VOTCA_DENSITY)
    sample(settings, system, state, tmp_path / "reference.h5", seed=1, identity="pairs")
    # g_rdf's bins are centred on multiples of their width
    edges = np.append(np.maximum(r - 0.005, 0.0), r[-1] + 0.005)
    found = pair_distribution(read_trajectory(tmp_path / "reference.h5"), edges)
    is_liquid = (r > 0.25) & (r < 1.0)
    # statistical error of 40 ps: 0.007; theirs has flexible O-H bonds and no 1-4 pairs: 60 ps gave 0.013 in all
    assert np.abs(found - expected)[is_liquid].mean() < 0.02
    assert r[found.argmax()] == r[expected.argmax()] == pytest.approx(0.34)
