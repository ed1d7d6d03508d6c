"""Simulated studies: intervals hold the truth in 92 to 98 % of them, and equal networks are rarely called different.

An image has a difficulty that all networks share (their errors are correlated 0.6), a recipe an effect of its seed. The
truth is known from the model: the accuracy over all images and seeds, or over all images for one trained network.
"""

import itertools

import numpy as np
import pytest
from scipy.stats import norm

from deepnets.comparison.crossed import difference_variance
from deepnets.comparison.intervals import recipe_interval, wilson
from deepnets.comparison.paired import (
    ALPHA,
    bootstrap_interval,
    equivalence_interval,
    holm,
    mcnemar,
    t_interval,
    t_probability,
)

STUDIES = 2000
SHARED = 0.6  # the correlation of two networks' errors on an image
SIZES = [360, pytest.param(10_000, marks=pytest.mark.full)]
LEVELS = [0.75, 0.986]
SPREADS = [0.0, 0.05, 0.15]  # of the seeds, in probits
CELLS = 4_000_000  # of a block of studies, so that memory stays small


def blocks(images, networks, studies=STUDIES):
    """Yield how many studies to simulate at once."""
    each = max(1, CELLS // (images * networks))
    for start in range(0, studies, each):
        yield min(each, studies - start)


def studies_of(images):
    """More studies where they cost little and the share is near a limit: 20,000 are exact to 0.2 points."""
    return 10 * STUDIES if images == 360 else STUDIES


def simulate(rng, studies, recipes, seeds, images, accuracy, spread):
    """Which images are right: (studies, recipes, seeds, images); and the trained networks' own accuracies.

    `accuracy`, `spread`: of all recipes, or (recipes,).
    """
    accuracy, spread = (np.reshape(each, (-1, 1, 1)) for each in (accuracy, spread))
    # Averaged over seeds and images, the chance to be right is the accuracy.
    middle = norm.ppf(accuracy) * np.sqrt(1 + spread**2)
    means = middle + spread * rng.standard_normal((studies, recipes, seeds, 1), np.float32)
    difficulty = np.sqrt(SHARED) * rng.standard_normal((studies, 1, 1, images), np.float32)
    noise = np.sqrt(1 - SHARED) * rng.standard_normal((studies, recipes, seeds, images), np.float32)
    return difficulty + noise < means, norm.cdf(means[..., 0])


NOISE = 2 * np.sqrt(0.05 * 0.95 / STUDIES)  # of a simulated share of 5 %, two standard errors


@pytest.mark.parametrize(("accuracy", "spread"), [*itertools.product(LEVELS, SPREADS)])
@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("images", SIZES)
def test_interval_of_a_recipe_covers_its_accuracy(images, seeds, accuracy, spread):
    rng, covered = np.random.default_rng(1), []
    for studies in blocks(images, seeds):
        right, _ = simulate(rng, studies, 1, seeds, images, accuracy, spread)
        low, high = recipe_interval(right[:, 0])
        covered += ((low <= accuracy) & (accuracy <= high)).tolist()
    assert 0.92 <= np.mean(covered) <= 0.98


@pytest.mark.parametrize("accuracy", LEVELS)
@pytest.mark.parametrize("images", [360, 10_000])
def test_interval_of_a_trained_network_covers_its_accuracy_on_all_images(images, accuracy):
    rng = np.random.default_rng(2)
    own = norm.cdf(norm.ppf(accuracy) + 0.15 * rng.standard_normal(STUDIES))  # each study's network is another one
    shares = rng.binomial(images, own) / images
    low, high = wilson(shares, images, norm.ppf(0.975))
    assert 0.92 <= np.mean((low <= own) & (own <= high)) <= 0.98


@pytest.mark.parametrize("accuracy", LEVELS)
@pytest.mark.parametrize("images", [360, 10_000])
def test_interval_of_a_difference_of_two_trained_networks_covers_it(images, accuracy):
    rng = np.random.default_rng(3)
    both, covered = simulate(rng, 1, 2, 1, 400_000, accuracy, 0.15)[0][0, :, 0], []
    chances = [(both[0] & ~both[1]).mean(), (both[1] & ~both[0]).mean()]
    truth = chances[0] - chances[1]
    for a_only, b_only, _ in rng.multinomial(images, [*chances, 1 - sum(chances)], STUDIES).tolist():
        low, high = bootstrap_interval(a_only, b_only, images, 0.95)
        covered.append(low <= truth <= high)
    assert 0.92 <= np.mean(covered) <= 0.98


@pytest.mark.parametrize(("accuracy", "spread"), [*itertools.product(LEVELS, SPREADS)])
@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("images", SIZES)
def test_interval_of_a_difference_of_two_recipes_covers_it(images, seeds, accuracy, spread):
    rng, covered = np.random.default_rng(4), []
    for studies in blocks(images, 2 * seeds, studies_of(images)):
        right, _ = simulate(rng, studies, 2, seeds, images, accuracy, spread)
        low, high = t_interval(difference_variance(right[:, 0], right[:, 1]))
        covered += ((low <= 0) & (high >= 0)).tolist()
    assert 0.92 <= np.mean(covered) <= 0.98


# Accuracies of two recipes, and the spreads of their seeds.
UNEQUAL = [((0.8, 0.75), (0.0, 0.15)), ((0.986, 0.96), (0.05, 0.15)), ((0.986, 0.981), (0.15, 0.15))]


@pytest.mark.parametrize(("accuracies", "spreads"), UNEQUAL)
@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("images", SIZES)
def test_interval_of_a_difference_of_two_unequal_recipes_covers_it(images, seeds, accuracies, spreads):
    rng, covered, truth = np.random.default_rng(8), [], accuracies[0] - accuracies[1]
    for studies in blocks(images, 2 * seeds, studies_of(images)):
        right, _ = simulate(rng, studies, 2, seeds, images, accuracies, spreads)
        low, high = t_interval(difference_variance(right[:, 0], right[:, 1]))
        covered += ((low <= truth) & (truth <= high)).tolist()
    assert 0.92 <= np.mean(covered) <= 0.98


@pytest.mark.parametrize(("accuracy", "spread"), [*itertools.product(LEVELS, SPREADS)])
@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize(("images", "margin"), [(360, 0.03), pytest.param(10_000, 0.01, marks=pytest.mark.full)])
def test_recipes_that_differ_by_the_margin_are_rarely_called_equivalent(images, margin, seeds, accuracy, spread):
    rng, found = np.random.default_rng(9), []
    for studies in blocks(images, 2 * seeds):
        right, _ = simulate(rng, studies, 2, seeds, images, (accuracy, accuracy - margin), spread)
        low, high = equivalence_interval(difference_variance(right[:, 0], right[:, 1]))
        found += ((low > -margin) & (high < margin)).tolist()
    # Within a wide margin, seeds that are better by chance spread less where few errors are left, so it is narrow then.
    is_skewed = margin == 0.03 and (accuracy, spread) == (0.986, 0.15)
    assert np.mean(found) <= (0.08 if is_skewed else 0.05 + NOISE)


@pytest.mark.parametrize("accuracy", LEVELS)
@pytest.mark.parametrize(("images", "margin"), [(360, 0.03), (10_000, 0.01)])
def test_networks_that_differ_by_the_margin_are_called_equivalent_in_at_most_5_percent_of_studies(
    images, margin, accuracy
):
    rng = np.random.default_rng(10)
    both = simulate(rng, 1, 2, 1, 400_000, (accuracy, accuracy - margin), 0.0)[0][0, :, 0]
    b_only = (both[1] & ~both[0]).mean()
    chances = [b_only + margin, b_only]
    found = []
    for a_only, b_only, _ in rng.multinomial(images, [*chances, 1 - sum(chances)], STUDIES).tolist():
        low, high = bootstrap_interval(a_only, b_only, images, 0.9)
        found.append(-margin < low and high < margin)
    assert np.mean(found) <= 0.05 + NOISE


@pytest.mark.parametrize(("accuracy", "spread"), [*itertools.product(LEVELS, SPREADS)])
@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("images", SIZES)
def test_four_equal_recipes_are_called_different_in_at_most_5_percent_of_studies(images, seeds, accuracy, spread):
    rng, found = np.random.default_rng(5), []
    for studies in blocks(images, 4 * seeds):
        right, _ = simulate(rng, studies, 4, seeds, images, accuracy, spread)
        p = [
            t_probability(difference_variance(right[:, a], right[:, b])) for a, b in itertools.combinations(range(4), 2)
        ]
        found += [bool((holm(each) < ALPHA).any()) for each in np.stack(p, 1)]
    assert np.mean(found) <= 0.05 + NOISE


@pytest.mark.parametrize("accuracy", LEVELS)
@pytest.mark.parametrize("images", [360, 10_000])
def test_four_equal_trained_networks_are_called_different_in_at_most_5_percent_of_studies(images, accuracy):
    rng, found = np.random.default_rng(6), []
    for studies in blocks(images, 4):
        right, _ = simulate(rng, studies, 4, 1, images, accuracy, 0.0)
        right = right[:, :, 0]
        p = [
            mcnemar((right[:, a] & ~right[:, b]).sum(1), (right[:, b] & ~right[:, a]).sum(1))
            for a, b in itertools.combinations(range(4), 2)
        ]
        found += [bool((holm(each) < ALPHA).any()) for each in np.stack(p, 1)]
    assert np.mean(found) <= 0.05 + NOISE


def test_interval_over_seeds_alone_would_not_cover():
    """What the report showed before: Student's t over the seeds, without the test images' own sampling."""
    rng, images = np.random.default_rng(7), 360
    right, _ = simulate(rng, STUDIES, 1, 3, images, 0.75, 0.0)
    means = right[:, 0].mean(-1)
    half = 4.303 * means.std(1, ddof=1) / np.sqrt(3)
    assert np.mean(np.abs(means.mean(1) - 0.75) <= half) < 0.92
