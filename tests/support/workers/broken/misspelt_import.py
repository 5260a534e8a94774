"""An import that is not there."""

import a_package_that_nobody_has_installed  # noqa: F401  # pyright: ignore
