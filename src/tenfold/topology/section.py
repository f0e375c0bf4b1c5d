"""What every section of the file is made of: strict types, and the patterns of names. Pure."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

# wording.py says in words what each pattern means.
NAME = r"^[a-z][a-z0-9_]{0,39}$"
IDENTIFIER = r"^[A-Za-z_][A-Za-z0-9_$]{0,63}$"
VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"
RATE = r"^[1-9][0-9]{0,6}r/[sm]$"
URL_PATH = r"^/[!-~]*$"
METHOD = r"^[A-Z]{1,20}$"
# Neither may start with a dash: ssh would take it for an option.
HOST_ADDRESS = r"^[A-Za-z0-9:][A-Za-z0-9.:_-]{0,252}$"
ABSOLUTE_PATH = r"^/[!-~]{1,200}$"
# No part of it is empty, nor only dots.
RELEASE_PATH = r"^\.*[^/.\x00-\x1f\x7f][^/\x00-\x1f\x7f]*(/\.*[^/.\x00-\x1f\x7f][^/\x00-\x1f\x7f]*)*/?$"
RECIPIENT = r"^age1[0-9a-z]{20,100}$"
ACCOUNT = r"^[A-Za-z_][A-Za-z0-9_.-]{0,31}$"

Name = Annotated[str, Field(pattern=NAME)]
Identifier = Annotated[str, Field(pattern=IDENTIFIER)]
Variable = Annotated[str, Field(pattern=VARIABLE)]
RateText = Annotated[str, Field(pattern=RATE)]
UrlPath = Annotated[str, Field(pattern=URL_PATH)]
Method = Annotated[str, Field(pattern=METHOD)]
ReleasePath = Annotated[str, Field(pattern=RELEASE_PATH)]
Recipient = Annotated[str, Field(pattern=RECIPIENT)]
# Strict: pydantic would else take true for 1 and "3" for 3.
Whole = Annotated[int, Field(strict=True)]
Seconds = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Port = Annotated[int, Field(strict=True, ge=1, le=65535)]


class Section(BaseModel):
    """A table of the file: unknown keys are refused, nothing changes once read."""

    # hide_input_in_errors: a mistake beside a secret must not print it, wherever the error ends up.
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True)
