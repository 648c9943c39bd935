"""Beads that stand still in OpenMM: positions, temperature of the rest, and mean forces against closed forms.

Three standard errors, seeded.
"""

import numpy as np
import openmm
import pytest
import scipy.sparse as sparse

from beadsmith.errors import InputError
from beadsmith.linear_map import LinearMap
from beadsmith.sampling.fibre_averages import average_fibre
from beadsmith.sampling.held_beads import FORCES, hold_beads
from beadsmith.units import GAS_CONSTANT

TEMPERATURE, DISTANCE = 320.0, 0.52
# v(d) and K(d): a spring, and a hidden oscillator whose stiffness depends on the distance of the beads
TOY = "300*(d-0.5)^2 + 0.5*K*(x3^2+y3^2+z3^2); K=500*(1+0.6*tanh((d-0.5)/0.08)); "


def expected():
    """Return F, F_S along the axis and Var(u) of one hidden oscillator in space."""
    kT, t = GAS_CONSTANT * TEMPERATURE, np.tanh((DISTANCE - 0.5) / 0.08)
    response = -1.5 * kT * 0.6 / 0.08 * (1.0 - t**2) / (1.0 + 0.6 * t)
    return -600.0 * (DISTANCE - 0.5) + response, response, 1.5 * kT**2


def build_atoms():
    """Two single atoms and a hidden oscillator."""
    system = openmm.System()
    for mass in (12.0, 14.0, 5.0):
        system.addParticle(mass)
    force = openmm.CustomCompoundBondForce(3, TOY + "d=distance(p1,p2)")
    force.addBond([0, 1, 2])
    system.addForce(force)
    positions = np.array([[0.0, 0.0, 0.0], [DISTANCE, 0.0, 0.0], [0.05, 0.02, -0.03]])
    return system, positions, [[0], [1]], [[1.0], [1.0]]


def build_groups(*, is_rigid=False):
    """Two beads of two atoms each, of any weights, and a hidden oscillator; bonds inside the beads vibrate or not."""
    system = openmm.System()
    for mass in (12.0, 3.0, 14.0, 6.0, 5.0):
        system.addParticle(mass)
    weights = [[0.7, 0.3], [0.4, 0.6]]
    force = openmm.CustomCentroidBondForce(3, TOY + "d=distance(g1,g2)")
    force.addGroup([0, 1], weights[0])
    force.addGroup([2, 3], weights[1])
    force.addGroup([4], [1.0])
    force.addBond([0, 1, 2])
    system.addForce(force)
    bonds = openmm.HarmonicBondForce()
    for a, b in ((0, 1), (2, 3)):
        if is_rigid:
            system.addConstraint(a, b, 0.11)
        else:
            bonds.addBond(a, b, 0.11, 2e4)
    system.addForce(bonds)
    positions = np.array([[0.0, 0.0, 0.0], [0.0, 0.11, 0.0], [0.6, 0.0, 0.1], [0.6, 0.11, 0.1], [0.05, 0.02, -0.03]])
    first, second = 0.7 * positions[0] + 0.3 * positions[1], 0.4 * positions[2] + 0.6 * positions[3]
    # the second bead to its distance along the line between the beads
    positions[2:4] += (DISTANCE / np.linalg.norm(second - first) - 1.0) * (second - first)
    return system, positions, [[0, 1], [2, 3]], weights


def make_map(carriers, weights, n_atoms):
    matrix = np.zeros((len(carriers), n_atoms))
    for bead, (atoms, own) in enumerate(zip(carriers, weights, strict=True)):
        matrix[bead, atoms] = own
    return LinearMap(matrix=sparse.csr_array(matrix))


def run(system, positions, carriers, weights, *, forced=None, n_samples=6000, timestep=0.004, stride=15):
    """Return forces on beads (sums over the carriers or over `forced`), energies, drift and mean kinetic energy."""
    position_map = make_map(carriers, weights, len(positions))
    forced = carriers if forced is None else forced
    force_map = make_map(forced, [np.ones(len(atoms)) for atoms in forced], len(positions))
    held = hold_beads(system, position_map)
    integrator = held.create_integrator(temperature=TEMPERATURE, friction=8.0, timestep=timestep, seed=7)
    context = openmm.Context(held.system, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(positions)
    context.setVelocitiesToTemperature(TEMPERATURE, 7)
    forces, energies, kinetic = [], [], []
    integrator.step(500)
    for _ in range(n_samples):
        integrator.step(stride)
        state = context.getState(forces=True, energy=True, groups=FORCES)
        forces.append(force_map.apply(state.getForces(asNumpy=True)._value[None])[0])
        energies.append(state.getPotentialEnergy()._value)
        kinetic.append(state.getKineticEnergy()._value)
    end = context.getState(positions=True).getPositions(asNumpy=True)._value
    drift = np.abs(position_map.apply(np.asarray(end)[None]) - position_map.apply(positions[None])).max()
    return held, np.array(forces), np.array(energies), drift, np.array(kinetic)


CASES = {
    "atoms": (build_atoms, 3),
    "groups": (build_groups, 9),
    "rigid groups": (lambda: build_groups(is_rigid=True), 7),
}


@pytest.fixture(scope="module", params=CASES)
def case(request):
    build, n_degrees = CASES[request.param]
    system, positions, carriers, weights = build()
    return (positions, carriers, weights, n_degrees, *run(system, positions, carriers, weights))


def test_beads_stand_still_and_everything_else_has_the_temperature(case):
    *_, n_degrees, _, _, _, drift, kinetic = case
    assert drift < 1e-10
    # blocks of 200 samples of 0.06 ps at a friction of 8/ps are independent
    blocks = 2.0 * kinetic.reshape(-1, 200).mean(axis=1) / (n_degrees * GAS_CONSTANT)
    error = blocks.std(ddof=1) / np.sqrt(len(blocks))
    # half-step velocities of the middle scheme are a little hot or cold in stiff bonds: 1 %
    assert abs(blocks.mean() - TEMPERATURE) < 3.0 * error + 0.01 * TEMPERATURE


def test_mean_force_and_response_are_those_of_the_closed_form(case):
    positions, carriers, weights, _, _, forces, energies, *_ = case
    found = average_fibre(forces, energies, temperature=TEMPERATURE, n_blocks=30)
    beads = make_map(carriers, weights, len(positions)).apply(positions[None])[0]
    axis = (beads[1] - beads[0]) / DISTANCE
    force, response, _ = expected()
    for values, noise, wanted in (
        (found.force, found.force_noise, force), (found.response, found.response_noise, response)
    ):  # fmt: skip
        # projected on the axis, whose error is at most the root mean square over components times sqrt(3)
        error = np.sqrt(3.0) * noise
        assert abs(values[1] @ axis - wanted) < 3.0 * error[1]
        assert abs(values[0] @ axis + wanted) < 3.0 * error[0]
        assert np.sqrt(3.0) * noise[1] < 0.08 * abs(response)


def test_energies_do_not_contain_the_projection(case):
    *_, energies, _, _ = case
    # a mean of 300 (0.02)² + 3/2 kT, and harmonic bonds inside the beads
    assert energies.min() > 0.0
    assert energies.mean() < 0.12 + 4.0 * GAS_CONSTANT * TEMPERATURE


def test_a_held_atom_with_a_rigid_bond_has_the_mean_force_of_the_closed_form():
    # the hydrogen moves on a sphere about the held atom, in a harmonic field along x; the bead's label sums both forces
    stiffness, start, length = 600.0, 0.05, 0.1
    system = openmm.System()
    for mass in (12.0, 3.0):
        system.addParticle(mass)
    system.addConstraint(0, 1, length)
    field = openmm.CustomExternalForce(f"0.5*{stiffness}*x^2")
    field.addParticle(1, [])
    system.addForce(field)
    positions = np.array([[start, 0.0, 0.0], [start - 0.06, 0.08, 0.0]])
    held, forces, _, drift, _ = run(system, positions, [[0]], [[1.0]], forced=[[0, 1]], n_samples=4000)
    assert held.system.getParticleMass(0)._value == 1e14
    assert drift < 1e-5
    # the surface of a sphere is uniform in the cosine
    cosine = np.linspace(-1.0, 1.0, 20_001)
    density = np.exp(-0.5 * stiffness * (start + length * cosine) ** 2 / (GAS_CONSTANT * TEMPERATURE))
    wanted = -stiffness * np.average(start + length * cosine, weights=density)
    blocks = forces[:, 0, 0].reshape(40, -1).mean(axis=1)
    error = blocks.std(ddof=1) / np.sqrt(40)
    assert abs(blocks.mean() - wanted) < 3.0 * error
    # far from the force of a hydrogen that is uniform on its sphere
    assert abs(wanted + stiffness * start) > 10.0 * error


@pytest.mark.parametrize(("hydrogen", "spread"), [(1.008, 0.0003), (3.0, 0.006)])
def test_rigid_bonds_of_a_methyl_group_weigh_angles_by_less_than_a_hundredth(hydrogen, spread):
    # root of the determinant of the mass metric of three bonds that share their carbon, which gives mass to heavier
    # hydrogens, at angles with the thermal spread of 33 kcal/mol/rad² (OPLS-AA): 5.4 degrees at 300 K
    carbon = 12.011 - 3.0 * (hydrogen - 1.008)
    cosines = np.cos(np.radians(np.random.default_rng(0).normal(109.5, 5.4, (20_000, 3))))
    metric = np.empty((len(cosines), 3, 3))
    metric[:, [0, 1, 2], [0, 1, 2]] = 1.0 / carbon + 1.0 / hydrogen
    for column, (a, b) in enumerate(((0, 1), (0, 2), (1, 2))):
        metric[:, a, b] = metric[:, b, a] = cosines[:, column] / carbon
    weight = np.sqrt(np.linalg.det(metric))
    assert weight.std() / weight.mean() == pytest.approx(spread, rel=0.2)


def test_atoms_without_rigid_bonds_have_no_mass_and_constraints_between_held_atoms_are_dropped():
    system = openmm.System()
    for _ in range(3):
        system.addParticle(12.0)
    system.addConstraint(0, 1, 0.1)
    held = hold_beads(system, make_map([[0], [1], [2]], [[1.0]] * 3, 3)).system
    assert held.getNumConstraints() == 0
    assert [held.getParticleMass(k)._value for k in range(3)] == [0.0, 0.0, 0.0]
    assert system.getNumConstraints() == 1


TIMESTEPS = [(1.0, False, 0.001), (1.0, True, 0.002), (3.0, False, 0.002), (3.0, True, 0.004), (12.0, False, 0.004)]


@pytest.mark.parametrize(("mass", "is_rigid", "longest"), TIMESTEPS)
def test_the_timestep_follows_the_lightest_atom_that_moves(mass, is_rigid, longest):
    system = openmm.System()
    for own in (12.0, mass):
        system.addParticle(own)
    if is_rigid:
        system.addConstraint(0, 1, 0.1)
    assert hold_beads(system, make_map([[0]], [[1.0]], 2)).longest_timestep == longest


def build_chain():
    system = openmm.System()
    for _ in range(4):
        system.addParticle(12.0)
    system.addConstraint(1, 2, 0.1)
    return system


BAD_MAPS = [
    ([[0, 1], [2, 3]], [[0.5, 0.5], [0.5, 0.5]], "atom 1 of bead 0 .* is rigidly bonded to atom 2 outside the bead"),
    ([[0, 1], [1, 3]], [[0.5, 0.5], [0.5, 0.5]], "atom 1 carries the positions of beads 0 .* and 1"),
    ([[0, 3]], [[1.5, -0.5]], "negative position weight"),
]


@pytest.mark.parametrize(("carriers", "weights", "message"), BAD_MAPS)
def test_beads_that_cannot_be_held_are_refused(carriers, weights, message):
    with pytest.raises(InputError, match=message):
        hold_beads(build_chain(), make_map(carriers, weights, 4), names=("A", "B"))
