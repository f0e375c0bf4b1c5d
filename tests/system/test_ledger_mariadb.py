"""The main job on three MariaDB servers: the same tests, where the database has a part in them. Edge."""

from __future__ import annotations

import pytest

from tests.system import test_ledger as main_job
from tests.system.ledger import Ledger

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def ledger(ledger_on_mariadb: Ledger) -> Ledger:
    """The ledger that the tests of `main_job` ask for."""
    return ledger_on_mariadb


test_a_user_signs_up_deposits_and_pays_a_user_on_another_shard = (
    main_job.test_a_user_signs_up_deposits_and_pays_a_user_on_another_shard
)
test_every_row_of_a_user_lies_on_the_shard_that_the_bucket_map_names = (
    main_job.test_every_row_of_a_user_lies_on_the_shard_that_the_bucket_map_names
)
test_an_app_process_killed_between_debit_and_credit_leaves_the_sum_whole = (
    main_job.test_an_app_process_killed_between_debit_and_credit_leaves_the_sum_whole
)
test_200_sign_ups_at_once_with_one_address_and_kills_give_one_user = (
    main_job.test_200_sign_ups_at_once_with_one_address_and_kills_give_one_user
)
test_status_says_what_runs_and_stopping_leaves_nothing = main_job.test_status_says_what_runs_and_stopping_leaves_nothing
