"""The words that the sample's titles are composed of: topics, their subtopics, and how people speak of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Topic:
    """A field of interest.

    Parameters
    ----------
    roles : people of the field; deeds : what they do, as gerunds that take any of the phrases as their object;
    places : where they do it. subtopics : per subtopic the noun phrases it is spoken of in, mass nouns or plurals.
    """

    name: str
    roles: tuple[str, ...]
    deeds: tuple[str, ...]
    places: tuple[str, ...]
    subtopics: tuple[tuple[str, ...], ...]


def _topic(name: str, roles: str, deeds: str, places: str, *subtopics: str) -> Topic:
    def parts(text: str) -> tuple[str, ...]:
        return tuple(part.strip() for part in text.split(","))

    return Topic(name, parts(roles), parts(deeds), parts(places), tuple(map(parts, subtopics)))


TOPICS = (
    _topic(
        "Baking",
        "Baker, Miller, Pastry Cook",
        "Baking, Shaping, Tasting",
        "the Village Oven, the Flour Mill",
        "Sourdough, Wild Starters, Country Loaves, Rye Bread, Crusts and Crumbs",
        "Croissants, Puff Pastry, Danish Swirls, Butter Layers, Brioche",
        "Wedding Cakes, Sponge Cakes, Sugar Flowers, Buttercream, Tiered Cakes",
        "Neapolitan Pizza, Flatbreads, Focaccia, Stone Ovens, Pizza Dough",
    ),
    _topic(
        "Astronomy",
        "Astronomer, Stargazer, Cosmologist",
        "Observing, Charting, Photographing",
        "the Mountain Observatory, the Dark Desert",
        "Planets, Saturn's Rings, Martian Storms, Moons of Jupiter, Gas Giants",
        "Galaxies, Nebulae, Star Clusters, the Milky Way, Distant Quasars",
        "Eclipses, Meteor Showers, Comets, Auroras, Lunar Phases",
        "Black Holes, Supernovae, Neutron Stars, Gravitational Waves, Dying Stars",
    ),
    _topic(
        "Gardening",
        "Gardener, Botanist, Seed Keeper",
        "Growing, Planting, Tending",
        "the Walled Garden, the Greenhouse",
        "Roses, Rose Hedges, Climbing Roses, Flower Borders, Peonies",
        "Tomatoes, Kitchen Vegetables, Heirloom Beans, Pumpkins, Root Crops",
        "Cacti, Succulents, Desert Plants, Agaves, Dry Gardens",
        "Orchards, Apple Trees, Pear Trees, Plum Blossom, Fruit Hedges",
    ),
    _topic(
        "Chess",
        "Grandmaster, Chess Player, Tournament Director",
        "Mastering, Studying, Teaching",
        "the Chess Club, the Last Board",
        "Endgames, Rook Endings, Passed Pawns, Lone Kings, King and Pawn Play",
        "Openings, the Sicilian Defence, Gambits, the Queen's Gambit, Pawn Centres",
        "Checkmates, Sacrifices, Forks and Pins, Attacks on the King, Combinations",
        "Blitz Games, Speed Chess, Ticking Clocks, Time Trouble, Five-Minute Games",
    ),
    _topic(
        "Sailing",
        "Sailor, Skipper, Boatbuilder",
        "Crossing, Braving, Reading",
        "the Harbour Wall, the Old Boatyard",
        "Ocean Passages, Trade Winds, Atlantic Swells, Long Crossings, the Southern Ocean",
        "Coastal Waters, Tides, Estuaries, Hidden Coves, Lighthouses",
        "Racing Yachts, Regattas, Starting Lines, Spinnakers, Dinghy Races",
        "Wooden Boats, Clinker Hulls, Rigging, Masts and Spars, Old Schooners",
    ),
    _topic(
        "Jazz",
        "Saxophonist, Bandleader, Jazz Pianist",
        "Playing, Hearing, Improvising",
        "the Blue Cellar, the Late Bar",
        "Bebop, Fast Solos, Saxophone Lines, Harlem Nights, Chord Changes",
        "Swing, Big Bands, Brass Sections, Dance Halls, Trumpet Calls",
        "Piano Trios, Slow Ballads, Jazz Standards, Left-Hand Chords, Midnight Waltzes",
        "Bossa Nova, Samba Rhythms, Latin Jazz, Nylon Guitars, Conga Grooves",
    ),
    _topic(
        "Detective Fiction",
        "Detective, Inspector, Private Eye",
        "Solving, Chasing, Unmasking",
        "the Locked Library, the Foggy Quay",
        "Country House Murders, Poisoned Teas, Butlers, Sealed Wills, Missing Heirs",
        "Forged Paintings, Art Thieves, Stolen Masterpieces, Museum Heists, Fake Signatures",
        "Cold Cases, Old Confessions, Forgotten Witnesses, Buried Evidence, Unsigned Letters",
        "Spies, Double Agents, Cipher Clerks, Border Crossings, Secret Dossiers",
    ),
    _topic(
        "Machine Learning",
        "Data Scientist, Programmer, Statistician",
        "Training, Debugging, Explaining",
        "the Server Room, the Research Lab",
        "Neural Networks, Deep Layers, Gradients, Loss Functions, Backpropagation",
        "Language Models, Word Embeddings, Transformers, Chatbots, Text Generation",
        "Recommender Systems, Ranking Models, Matrix Factorisation, Click Logs, User Embeddings",
        "Computer Vision, Image Classifiers, Object Detectors, Convolutions, Pixel Masks",
    ),
    _topic(
        "Mountaineering",
        "Climber, Alpinist, Mountain Guide",
        "Climbing, Facing, Surviving",
        "the High Camp, the Summit Hut",
        "Himalayan Peaks, Thin Air, Eight-Thousanders, Sherpa Routes, Death Zones",
        "Rock Walls, Granite Cracks, Sport Routes, Bouldering Problems, Chalk and Holds",
        "Glaciers, Ice Falls, Crevasses, Frozen Waterfalls, Ice Axes",
        "Mountain Trails, Ridge Walks, Alpine Passes, Long Hikes, Cairns",
    ),
    _topic(
        "Ancient History",
        "Historian, Archaeologist, Epigrapher",
        "Unearthing, Deciphering, Remembering",
        "the Sunken Forum, the Dusty Archive",
        "Roman Legions, Aqueducts, Emperors, Gladiators, Roman Roads",
        "Pharaohs, Pyramids, Hieroglyphs, Tombs of the Nile, Mummies",
        "Greek Temples, Athenian Citizens, Spartan Warriors, Oracles, Tragic Poets",
        "Babylonian Tablets, Ziggurats, Cuneiform, Sumerian Kings, the First Cities",
    ),
    _topic(
        "Knitting",
        "Knitter, Weaver, Wool Dyer",
        "Knitting, Designing, Mending",
        "the Yarn Shop, the Shearing Shed",
        "Fisherman Sweaters, Cable Patterns, Aran Jumpers, Pullovers, Raglan Sleeves",
        "Lace Shawls, Fine Mohair, Openwork, Silk Scarves, Bridal Veils",
        "Warm Socks, Mittens, Heel Turns, Woollen Hats, Thick Gloves",
        "Tapestries, Handlooms, Woven Rugs, Natural Dyes, Spinning Wheels",
    ),
    _topic(
        "Wildlife",
        "Naturalist, Ranger, Field Biologist",
        "Tracking, Protecting, Filming",
        "the Salt Marsh, the Night Hide",
        "Songbirds, Migrating Geese, Owls, Nests and Eggs, Birds of Prey",
        "Whales, Dolphins, Seals, Coral Reefs, Deep-Sea Creatures",
        "Wolves, Brown Bears, Lynxes, Forest Foxes, Reindeer Herds",
        "Bees, Butterflies, Ant Colonies, Beetles, Dragonflies",
    ),
    _topic(
        "Personal Finance",
        "Investor, Accountant, Fund Manager",
        "Managing, Taming, Understanding",
        "the Trading Floor, the Kitchen Table",
        "Index Funds, Dividends, Stock Portfolios, Bull Markets, Compound Interest",
        "Household Budgets, Savings, Credit Cards, Grocery Bills, Emergency Funds",
        "Pensions, Early Retirement, Annuities, Retirement Plans, Golden Years",
        "Mortgages, Rental Flats, House Prices, Landlords, Property Deeds",
    ),
    _topic(
        "Running",
        "Runner, Coach, Marathoner",
        "Running, Pacing, Finishing",
        "the Cinder Track, the Finish Line",
        "Marathons, Long Runs, City Races, the Twentieth Mile, Race Bibs",
        "Sprints, Starting Blocks, Relay Teams, Hundred-Metre Dashes, Track Spikes",
        "Ultramarathons, Desert Races, Night Stages, Hundred-Mile Races, Aid Stations",
        "Sore Knees, Stretching, Recovery Weeks, Running Shoes, Shin Splints",
    ),
    _topic(
        "Theatre",
        "Actor, Stage Director, Playwright",
        "Staging, Rehearsing, Directing",
        "the Empty Stage, the Upper Gallery",
        "Shakespearean Tragedies, Soliloquies, Hamlet's Ghosts, Doomed Kings, Blank Verse",
        "Musicals, Chorus Lines, Broadway Nights, Show Tunes, Tap Dances",
        "Puppets, Marionettes, Shadow Plays, Masks, Travelling Booths",
        "Improvised Comedy, Punchlines, Clowns, Open Stages, Comic Duos",
    ),
)
