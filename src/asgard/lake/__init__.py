"""How our tables lie: stage, commit, merge, scan, evolve, maintain."""
