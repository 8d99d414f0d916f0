"""The contract suites that every connector, format and engine passes, strangers' ones too."""
