/*
description: What fog does.
checks:
  - unique: visibility
*/
SELECT
    CASE
        WHEN visibility_miles < 1 THEN 'below 1 mile'
        WHEN visibility_miles < 5 THEN '1 to 5 miles'
        ELSE '5 miles and more'
    END AS visibility,
    count(*) AS flights,
    round(avg(departure_delay_minutes), 1) AS average_delay_minutes,
    round(100.0 * count(*) FILTER (cancelled) / count(*), 1) AS cancelled_percent
FROM silver.flights
WHERE visibility_miles IS NOT NULL
GROUP BY ALL
