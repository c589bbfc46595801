"""The API below ``/v1``, for programs in any language."""
