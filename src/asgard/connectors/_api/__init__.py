"""What REST, GraphQL and declarative connectors share: manifests, pages, answers, cursors."""
