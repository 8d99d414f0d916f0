/*
description: Planes with what they did in the year.
checks:
  - unique: tailnum
  - between: {column: age_years, min: 0, max: 60}
*/
SELECT
    p.tailnum,
    p.manufacturer,
    p.model,
    p.seats,
    2013 - p.year AS age_years,
    count(f.flight) AS flights,
    coalesce(sum(f.distance_miles) FILTER (NOT f.cancelled), 0) AS miles
FROM bronze.flights_db.planes AS p
LEFT JOIN silver.flights AS f ON f.tailnum = p.tailnum
GROUP BY ALL
