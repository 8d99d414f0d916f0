/*
description: Flights as people ask about them, with the airline, the destination and the weather.
checks:
  - unique: [time_hour, carrier, flight]
  - not_null: [airline, cancelled]
  # Four islands are missing in the list of airports.
  - referential: {column: dest, to: bronze.files.airports, field: faa, on_fail: warn}
*/
SELECT
    f.time_hour,
    f.hour,
    f.carrier,
    a.name AS airline,
    f.flight,
    f.tailnum,
    f.origin,
    f.dest,
    d.name AS destination,
    f.distance AS distance_miles,
    f.dep_time IS NULL AS cancelled,
    f.dep_delay AS departure_delay_minutes,
    f.arr_delay AS arrival_delay_minutes,
    w.visib AS visibility_miles,
    w.wind_speed AS wind_speed_mph
FROM bronze.flights_db.flights AS f
JOIN bronze.airline_api.airlines AS a ON a.carrier = f.carrier
LEFT JOIN bronze.files.airports AS d ON d.faa = f.dest
LEFT JOIN bronze.files.weather AS w ON w.origin = f.origin AND w.time_hour = f.time_hour
